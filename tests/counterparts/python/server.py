"""The Python libraries' end: reads what fnbridge sends with each library as its users do, and says in the answer what it read.

    PORT=8080 python3 tests/counterparts/python/server.py
"""

import base64
import datetime
import json
import os
import traceback
import unittest.mock
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, parse_qsl, urlsplit

import botocore.auth
from alibabacloud_openapi_util.client import Client as AlibabaClient
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from standardwebhooks import Webhook, WebhookVerificationError
from Tea.request import TeaRequest

SECRET = "counterparts-secret"


def answer(path, headers, body):
    """Status, headers and body of the answer."""
    if "webhook-signature" in headers:
        return webhook(path, headers, body)
    scheme = headers.get("authorization", "").split(" ")[0]
    if scheme == "AWS4-HMAC-SHA256":
        return same_signature(headers, sigv4(path, headers, body))
    if scheme == "ACS3-HMAC-SHA256":
        return same_signature(headers, acs3(path, headers))
    return cloudevent(path, headers, body)


def cloudevent(path, headers, body):
    event = from_http_event(HTTPMessage(headers, body))
    data = event.get_data()
    if isinstance(data, (bytes, bytearray)):
        data = {"base64": base64.b64encode(data).decode()}
    read = {"attributes": {name: as_text(value) for name, value in event.get_attributes().items()}, "data": data}
    attributes = {"id": event.get_id(), "source": "/counterparts/python", "type": "counterpart.read", "partitionkey": 'p "ë" 50%',
                  "datacontenttype": "application/json"}
    to = {"binary": to_binary_event, "structured": to_structured_event}[parse_qs(urlsplit(path).query)["answer"][0]]
    reply = to(CloudEvent(attributes, read))
    return 200, reply.headers, reply.body


def as_text(value):
    return value.isoformat() if isinstance(value, datetime.datetime) else str(value)


def webhook(path, headers, body):
    try:
        Webhook(parse_qs(urlsplit(path).query)["secret"][0]).verify(body, headers)
    except WebhookVerificationError as error:
        return 401, {}, str(error).encode()
    return 204, {}, b""


def same_signature(headers, expected):
    if headers["authorization"] == expected:
        return 204, {}, b""
    return 401, {}, f"found    {headers['authorization']}\nexpected {expected}".encode()


def sigv4(path, headers, body):
    """What botocore signs the same request with, at the same time."""
    date = datetime.datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    key_id, _, region, service, _ = headers["authorization"].split("Credential=")[1].split(",")[0].split("/")
    own = ("x-amz-date", "x-amz-security-token")
    stated = {name: value for name, value in headers.items() if name == "content-type" or (name.startswith("x-amz-") and name not in own)}
    url = urlsplit(f"http://{headers['host']}{path}")
    query = parse_qsl(url.query, keep_blank_values=True)  # As its clients do, which give it the query as pairs.
    request = AWSRequest("POST", url._replace(query="").geturl(), headers=stated, params=query, data=body)
    credentials = Credentials(key_id, SECRET, headers.get("x-amz-security-token"))
    with unittest.mock.patch("botocore.auth.get_current_datetime", lambda: date):
        botocore.auth.SigV4Auth(credentials, service, region).add_auth(request)
    return request.headers["Authorization"]


def acs3(path, headers):
    """What Alibaba's library signs the same request with; where the API is called the body's digest is signed, as its client does."""
    key_id = headers["authorization"].split("Credential=")[1].split(",")[0]
    url = urlsplit(path)
    request = TeaRequest()
    request.method, request.pathname = "POST", url.path
    request.query = dict(parse_qsl(url.query, keep_blank_values=True))
    request.headers = {name: value for name, value in headers.items() if name in ("host", "content-type") or name.startswith("x-acs-")}
    return AlibabaClient.get_authorization(request, "ACS3-HMAC-SHA256", headers.get("x-acs-content-sha256", ""), key_id, SECRET)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            status, headers, said = answer(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        except Exception:
            status, headers, said = 500, {}, traceback.format_exc().encode()
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(said))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
