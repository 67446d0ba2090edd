"""A scripted adapter. Each argument is a step:

running[:PHASE], pending  report that state
completed[:metrics JSON]  report a result (default {"acc": 0.5})
failed:TEXT               report a failure
say:TEXT                  print
exit:N, kill:N            exit with a status, or be killed by a signal
hang                      sleep for ever
ignore-term               ignore SIGTERM from here on
helper, daemon            leave a child in a session of its own that ignores SIGTERM (daemon: orphaned as well)
touch:FILE, await:FILE    create a file; wait until a file exists
env:NAME                  print a variable
ask-model                 get the model's /models and print the answer
"""

import json
import os
import signal
import socket
import sys
import time

TIMEOUT_S = 60.0
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def specification():
    with open(os.environ["EVALHUB_JOB_SPEC_PATH"], encoding="utf-8") as file:  # noqa: PTH123 - pathlib's import takes time
        return json.load(file)


def post(url, body, headers):
    """Return the status of the answer. Importing urllib takes longer than all else that most adapters do here."""
    scheme, _, rest = url.partition("://")
    if scheme != "http" or any(name.lower().endswith("_proxy") for name in os.environ):
        import urllib.error
        import urllib.request

        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, body, headers), timeout=TIMEOUT_S
            ) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
    authority, _, path = rest.partition("/")
    host, _, port = authority.rpartition(":")
    fields = {"Host": authority, "Content-Length": len(body), "Connection": "close", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as connection:
        connection.sendall(f"POST /{path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    if not answer:
        raise ConnectionError("closed without an answer")
    return int(answer.split(b" ", 2)[1])


def report(status, **fields):
    spec = specification()
    event = {
        "provider_id": spec["provider_id"],
        "id": spec["benchmark_id"],
        "benchmark_index": spec["benchmark_index"],
        "status": status,
        **fields,
    }
    url = f"{spec['callback_url']}/api/v1/evaluations/jobs/{spec['id']}/events"
    body = json.dumps({"benchmark_status_event": event}).encode()
    tenant = os.environ.get("POD_NAMESPACE")
    headers = {"Content-Type": "application/json", **({"X-Tenant": tenant} if tenant else {})}
    try:
        status = post(url, body, headers)
    except OSError as error:
        print("event lost", error, flush=True)
    else:
        if status >= 400:
            print("event refused", status, flush=True)


def do(step):
    name, _, value = step.partition(":")
    if name in ("running", "pending"):
        report(name, **({"phase": value} if value else {}))
    elif name == "completed":
        report("completed", metrics=json.loads(value or '{"acc": 0.5}'))
    elif name == "failed":
        report(
            "failed",
            error_message={"message": value, "message_code": "scripted", "message_origin": "adapter"},
        )
    elif name == "say":
        print(value, flush=True)
    elif name == "exit":
        sys.exit(int(value))
    elif name == "kill":
        os.kill(os.getpid(), int(value))
    elif name == "hang":
        while True:
            time.sleep(600)
    elif name == "ignore-term":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif name == "helper":
        import subprocess

        subprocess.Popen([sys.executable, "-S", "-E", "-c", SLEEPER], start_new_session=True)
    elif name == "daemon":
        import subprocess

        launch = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-E', '-c', {SLEEPER!r}], start_new_session=True)"
        subprocess.run([sys.executable, "-S", "-E", "-c", launch], check=True)
    elif name == "touch":
        os.close(os.open(value, os.O_CREAT | os.O_WRONLY))
        os.utime(value)
    elif name == "await":
        while not os.path.exists(value):  # noqa: PTH110
            time.sleep(0.02)
    elif name == "env":
        print(f"{value}={os.environ.get(value)}", flush=True)
    elif name == "ask-model":
        import urllib.request

        spec = specification()
        with urllib.request.urlopen(f"{spec['model']['url']}/models", timeout=10) as answer:
            print(answer.read().decode(), flush=True)
    else:
        sys.exit(f"unknown step {step}")


for argument in sys.argv[1:]:
    do(argument)
