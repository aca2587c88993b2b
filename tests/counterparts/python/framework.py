"""A function as the Functions Framework's own documentation has them: it prints what it was given, and answers nothing of its own.

    functions-framework --source tests/counterparts/python/framework.py --target receive
"""

import json

import functions_framework


@functions_framework.cloud_event
def receive(event):
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    print(json.dumps({"attributes": attributes, "data": event.data}), flush=True)
