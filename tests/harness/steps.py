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
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def report(status, **fields):
    spec = json.loads(Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).read_text())
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
    headers = {"X-Tenant": tenant} if tenant else {}
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), timeout=60).close()
    except urllib.error.HTTPError as error:
        print("event refused", error.code, flush=True)
    except OSError as error:
        print("event lost", error, flush=True)


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
        subprocess.Popen([sys.executable, "-S", "-E", "-c", SLEEPER], start_new_session=True)
    elif name == "daemon":
        launch = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-E', '-c', {SLEEPER!r}], start_new_session=True)"
        subprocess.run([sys.executable, "-S", "-E", "-c", launch], check=True)
    elif name == "touch":
        Path(value).touch()
    elif name == "await":
        while not Path(value).exists():
            time.sleep(0.02)
    elif name == "env":
        print(f"{value}={os.environ.get(value)}", flush=True)
    elif name == "ask-model":
        spec = json.loads(Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).read_text())
        with urllib.request.urlopen(f"{spec['model']['url']}/models", timeout=10) as answer:
            print(answer.read().decode(), flush=True)
    else:
        sys.exit(f"unknown step {step}")


for argument in sys.argv[1:]:
    do(argument)
