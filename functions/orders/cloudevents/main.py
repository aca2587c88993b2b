"""Orders as a CloudEvents receiver: one event in, the clean order as an event in the reply. Any host of Flask's requests runs it, such
as the Functions Framework or Knative:

    functions-framework --source functions/orders/cloudevents/main.py --target receive
"""

import pathlib
import sys

import functions_framework
from cloudevents.conversion import to_binary
from cloudevents.exceptions import GenericException
from cloudevents.http import CloudEvent, from_http

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "python"))  # Where it is deployed, orders.py lies beside it.

import orders  # noqa: E402


@functions_framework.http
def receive(request):
    """The reply to an event. The status says what the answer has no words for: 422 refuses the order, 425 is too early for it."""
    try:
        event = from_http(request.headers, request.get_data())
    except GenericException as error:
        return {"error": str(error)}, 400
    verdict = orders.verdict({"value": event.data})
    if verdict["action"] == "dead_letter":
        return {"error": verdict["reason"]}, 422
    if verdict["action"] == "retry":
        return {"error": "no such customer yet"}, 425
    if verdict["action"] == "drop":
        return "", 204
    order = verdict["records"][0]["value"]
    attributes = {"type": "orders.clean", "source": "/functions/orders", "id": event["id"], "subject": order["order_id"]}
    headers, body = to_binary(CloudEvent({**attributes, "datacontenttype": "application/json"}, order))
    return body, 200, headers
