"""Writes the vectors beside it with the owners' own signers:

    python3 -m venv signers
    signers/bin/pip install botocore==1.44.8 alibabacloud-openapi-util==0.2.4 standardwebhooks==1.1.0
    signers/bin/python make.py            # --check: only says whether the files are what they would be
"""

import base64
import datetime
import hashlib
import json
import pathlib
import sys
import urllib.parse

import botocore.auth
from alibabacloud_openapi_util.client import Client
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from darabonba.request import DaraRequest
from standardwebhooks import Webhook

NOW = datetime.datetime(2025, 11, 24, 16, 0, 0, tzinfo=datetime.timezone.utc)
HERE = pathlib.Path(__file__).parent
BODIES = ["", "{}", '{"amount":7,"note":"größe"}']


def aws():
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: NOW.replace(tzinfo=None) if remove_tzinfo else NOW
    arn = "arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3Aenrich"
    invoke = "https://lambda.eu-west-1.amazonaws.com/2015-03-31/functions"
    urls = [
        f"{invoke}/enrich/invocations",
        f"{invoke}/{arn}/invocations?Qualifier=%24LATEST",
        f"{invoke}/enrich/invocations?b=2&a=1&c=x%20y",
        "https://abcdefghij.lambda-url.eu-west-1.on.aws/",
        "https://abcdefghij.lambda-url.eu-west-1.on.aws/a%20b/c~d?x=%2F",
    ]
    for url in urls:
        for body in BODIES:
            for token in [None, "a-session-token/+="]:
                headers = {"content-type": "application/json", "x-amz-invocation-type": "RequestResponse"}
                request = AWSRequest("POST", url, data=body.encode(), headers=headers)
                credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
                botocore.auth.SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(request)
                yield {"url": url, "body": body, "token": token, "authorization": request.headers["Authorization"]}


def aliyun():
    urls = [
        ("https://1234567890.cn-hangzhou.fc.aliyuncs.com/2023-03-30/functions/enrich/invocations", True),
        ("https://1234567890.cn-hangzhou.fc.aliyuncs.com/2023-03-30/functions/a$b/invocations?qualifier=LATEST&a=1", True),
        ("https://enrich-abc.cn-hangzhou.fcapp.run/", False),
        ("https://enrich-abc.cn-hangzhou.fcapp.run/a/b%20c?x=1%2F2&empty=", False),
    ]
    for url, is_api in urls:
        for body in BODIES:
            for token in [None, "a-security-token/+="]:
                yield {"url": url, "body": body, "token": token, **aliyun_signed(url, body, token, is_api)}


def aliyun_signed(url, body, token, is_api):
    rest = url.removeprefix("https://")
    host, _, path = rest.partition("/")
    path, _, query = path.partition("?")
    request = DaraRequest()
    request.method = "POST"
    request.pathname = Client.get_encode_path(urllib.parse.unquote("/" + path))
    request.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    request.headers = {
        "content-type": "application/json",
        "host": host,
        "x-acs-date": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": "00112233445566778899aabbccddeeff",
    }
    payload = ""
    if is_api:
        payload = hashlib.sha256(body.encode()).hexdigest()
        request.headers |= {
            "x-acs-action": "InvokeFunction",
            "x-acs-version": "2023-03-30",
            "x-acs-content-sha256": payload,
        }
    if token:
        request.headers |= {"x-acs-accesskey-id": "LTAIEXAMPLE", "x-acs-security-token": token}
    signed = Client.get_authorization(request, "ACS3-HMAC-SHA256", payload, "LTAIEXAMPLE", "a-secret")
    return {"authorization": signed}


def webhooks():
    keys = ["whsec_" + base64.b64encode(bytes([n]) * 24).decode() for n in (1, 2)]
    for body in BODIES:
        for id in ["orders-enrich/orders/3/42-43", "a;g=2"]:
            signatures = [Webhook(key).sign(id, NOW, body) for key in keys]
            yield {"id": id, "body": body, "keys": keys, "signature": " ".join(signatures)}


def main():
    wrong = 0
    for name, vectors in [("aws_sigv4", aws()), ("aliyun_acs3", aliyun()), ("standard_webhooks", webhooks())]:
        file = HERE / f"{name}.json"
        text = json.dumps(list(vectors), indent=1, ensure_ascii=False) + "\n"
        if "--check" in sys.argv:
            same = file.read_text() == text
            print(f"{file.name}: {'as the signer writes it' if same else 'not what the signer writes'}")
            wrong += not same
        else:
            file.write_text(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
