"""Starts each function on a free port, posts its cases, and compares.

    python3 functions/check.py           all of them
    python3 functions/check.py go java   those with one of these words in their name
"""

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
BUILT = "{built}"  # A folder for what a build makes, gone afterwards.
MAVEN = "mvn -B -q -Dstyle.color=never -Dmaven.test.skip=true package"

# Name: cases; the folder where it is built, and how; how it is started.
FUNCTIONS = {
    "orders in Python": ("cases.json", None, "python3 serve.py orders/python/orders.py"),
    "orders in JavaScript": ("cases.json", None, "node orders/javascript/server.js"),
    "orders in Go": ("cases.json", ("orders/go", f"go build -o {BUILT}/orders ."), f"{BUILT}/orders"),
    "orders in Java": ("cases.json", ("orders/java", MAVEN), "java -jar orders/java/target/orders.jar"),
    "flights in Python": ("flights/cases.json", None, "python3 serve.py flights/flights.py"),
    "alert in Python": ("alert/cases.json", None, "python3 serve.py alert/alert.py"),
    "search in Python": ("search/cases.json", None, "python3 serve.py search/search.py"),
    "warehouse in Python": ("warehouse/cases.json", None, "python3 serve.py warehouse/warehouse.py"),
}

NO_BATCHES = ["", "{", "[]", "{}", '{"records":7}', '{"records":[{"value":1}]}', '{"records":[null]}', '{"records":[]} x']
NO_BATCHES += ['{"records":[{"id":7,"value":1}]}', '{"records":[{"id":"t/0/0","value":NaN}]}']

PATIENCE_SECONDS = 30


class Function:
    """A running function, and one connection to it."""

    def __init__(self, build, start, built):
        if build:
            folder, command = build
            subprocess.run(command.replace(BUILT, built).split(), cwd=HERE / folder, check=True, stdin=subprocess.DEVNULL)
        self.process = subprocess.Popen(
            start.replace(BUILT, built).split(),
            cwd=HERE,
            env={**os.environ, "PORT": "0", "HOST": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        too_late = threading.Timer(PATIENCE_SECONDS, self.process.kill)
        too_late.start()
        said = self.process.stdout.readline()
        too_late.cancel()
        address = re.search(r"http://([\d.]+):(\d+)/", said)
        if not address:
            self.stop()
            raise RuntimeError(f"expected the address that it listens on within {PATIENCE_SECONDS} s, found {said!r}")
        self.connection = http.client.HTTPConnection(address[1], int(address[2]), timeout=PATIENCE_SECONDS)

    def post(self, body):
        self.connection.request("POST", "/", body.encode(), {"content-type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def request(cases):
    """A batch as fnbridge sends it."""
    records = [
        {"id": f"t/0/{n}", "topic": "t", "partition": 0, "offset": n, "timestamp": 1764000000000 + n, "key": case.get("key"),
         "value": case["value"], "headers": {}, "attempt": case.get("attempt", 1)}
        for n, case in enumerate(cases)
    ]
    return json.dumps({"pipeline": "cases", "batch": f"t/0/0-{len(cases) - 1}", "records": records})


def expected(case, n=0):
    """The verdict that a case asks for."""
    kind = next(kind for kind in ("deliver", "records", "drop", "retry", "dead_letter") if kind in case)
    said = {
        "deliver": {"action": "deliver", "records": [{"value": case.get("deliver")}]},
        "records": {"action": "deliver", "records": case.get("records")},
        "drop": {"action": "drop"},
        "retry": {"action": "retry", "after_ms": case.get("retry")},
        "dead_letter": {"action": "dead_letter", "reason": case.get("dead_letter")},
    }
    return {"id": f"t/0/{n}", **said[kind]}


def same(answered, wanted):
    """Whether an answer says this: 2 and 2.0 are the same number, 1 and true are not."""
    def plain(text):
        return json.dumps(json.loads(text, parse_int=float), sort_keys=True)

    return plain(answered) == plain(json.dumps(wanted))


def checks(cases):
    """Each check: its name, what is posted, what is expected."""
    for case in cases:
        yield case["name"], request([case]), (200, {"results": [expected(case)]})
    all_of_them = {"results": [expected(case, n) for n, case in enumerate(cases)]}
    yield "one batch of all cases gets its verdicts in order", request(cases), (200, all_of_them)
    yield "a batch of none gets none", '{"records":[]}', (200, {"results": []})
    for body in NO_BATCHES:
        yield f"what is no batch is refused: {body or 'nothing'}", body, (400, None)


def problem(function, body, status, wanted):
    """What is wrong with the answer; None if nothing is."""
    before = function.connection.sock
    found_status, answered = function.post(body)
    if found_status != status:
        return f"expected status {status}, found {found_status}: {answered}"
    if wanted is None:
        said = json.loads(answered).get("error", "")
        return None if said.startswith("expected a batch of records as JSON") else f"expected an error that says so, found {answered}"
    if not same(answered, wanted):
        return f"expected {json.dumps(wanted, ensure_ascii=False)}\n       found    {answered}"
    if function.connection.sock is None or (before and function.connection.sock is not before):
        return "expected the connection to stay open"
    return None


def run(name, cases, build, start):
    """How many checks passed and failed."""
    passed = failed = 0
    with tempfile.TemporaryDirectory() as built:
        try:
            function = Function(build, start, built)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            print(f"FAILED {name}: can't be started: {error}")
            return 0, 1
        try:
            for check, body, (status, wanted) in checks(json.loads((HERE / cases).read_text())):
                try:
                    trouble = problem(function, body, status, wanted)
                except (OSError, http.client.HTTPException, ValueError) as error:
                    function.connection.close()
                    trouble = f"no usable answer: {error!r}"
                passed, failed = (passed, failed + 1) if trouble else (passed + 1, failed)
                if trouble:
                    print(f"FAILED {name}: {check}\n       {trouble}")
        finally:
            function.stop()
    print(f"{name}: {passed} of {passed + failed} cases", flush=True)
    return passed, failed


def main(words):
    chosen = {name: how for name, how in FUNCTIONS.items() if not words or {word.lower() for word in words} & set(name.lower().split())}
    if not chosen:
        sys.exit(f"found no function named {' or '.join(words)}, expected some of: {', '.join(FUNCTIONS)}")
    counts = [run(name, *how) for name, how in chosen.items()]
    passed, failed = sum(passed for passed, _ in counts), sum(failed for _, failed in counts)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
