"""`kubectl` for the stack of `deployments`: the commands of the runbook, on processes of this machine.

Runs as a script by path, in an isolated interpreter, so that it starts as fast as the real one. `STACK_DIRECTORY` names
the stack. What the runbook does not use is refused: a typo in a test must not pass for a success.
"""

import json
import os
import re
import socket
import sys
import time
from pathlib import Path

DIRECTORY = Path(os.environ["STACK_DIRECTORY"])
DEPLOYMENTS = ("workflow-engine", "workflow-workers")
COMPONENT = "app.kubernetes.io/component=workflow"
FOLLOW_SECONDS = 0.1


class Refused(Exception):
    """The command is not one of the runbook's, or failed."""


def ask(do, timeout=None, **request):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(DIRECTORY / "control"))
        connection.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        with connection.makefile() as answers:
            answer = json.loads(answers.readline())
    if "error" in answer:
        raise Refused(answer["error"])
    return answer["answer"]


def read(arguments, **known):
    """Options by name, and the other words; `known` tells which options take a value."""
    options, words = {}, []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, _, value = word.lstrip("-").partition("=")
        if name not in known:
            raise Refused(f"unknown flag: {word}")
        if known[name] and not value:
            value = rest.pop(0)
        options[name] = value if known[name] else True
    if options.get("n", options.get("namespace")) != "agents":
        raise Refused("the runbook names the namespace: -n agents")
    return options, words


def deployment(word):
    kind, _, name = word.partition("/")
    if kind != "deployment" or name not in DEPLOYMENTS:
        raise Refused(f'Error from server (NotFound): "{word}" not found')
    return name


def selected(selector):
    """The deployments whose pods carry that label."""
    if selector == COMPONENT:
        return list(DEPLOYMENTS)
    key, _, name = (selector or "").partition("=")
    if key != "app" or name not in DEPLOYMENTS:
        raise Refused(f"No resources found for {selector}")
    return [name]


def rollout(arguments):
    _, (verb, word) = read(arguments, n=True)
    name = deployment(word)
    if verb == "restart":
        ask("restart", name=name)
        print(f"deployment.apps/{name} restarted")
    elif verb == "status":
        ask("await-rollout", name=name)
        print(f'deployment "{name}" successfully rolled out')
    else:
        raise Refused(f"rollout {verb}")


def delete(arguments):
    options, (kind,) = read(arguments, n=True, l=True, force=False)
    if kind not in ("pod", "pods") or not options.get("force"):
        raise Refused("the runbook deletes pods by --force only")
    for name in selected(options["l"]):
        for pod in ask("kill", name=name):
            print(f'pod "{pod}" force deleted')


def wait(arguments):
    options, (kind,) = read(arguments, n=True, l=True, timeout=True, **{"for": True})
    if kind not in ("pod", "pods") or options["for"] != "condition=ready":
        raise Refused("the runbook waits for pods to be ready")
    seconds = float(options["timeout"].removesuffix("s"))
    for name in selected(options["l"]):
        try:
            pods = ask("await-ready", timeout=seconds, name=name)
        except TimeoutError:
            raise Refused("error: timed out waiting for the condition on pods") from None
        for pod in pods:
            print(f"pod/{pod} condition met")


def scale(arguments):
    options, (word,) = read(arguments, n=True, replicas=True)
    name = deployment(word)
    ask("scale", name=name, replicas=int(options["replicas"]))
    print(f"deployment.apps/{name} scaled")


def set_(arguments):
    verb, *rest = arguments
    if verb == "env":
        _, (word, *assignments) = read(rest, n=True)
        env = {}
        for assignment in assignments:
            name, separator, value = assignment.partition("=")
            if separator:
                env[name] = value
            elif name.endswith("-"):
                env[name[:-1]] = None
            else:
                raise Refused(f"not an assignment: {assignment}")
        ask("restart", name=deployment(word), env=env)
        print(f"deployment.apps/{deployment(word)} env updated")
    elif verb == "resources":
        options, (word,) = read(rest, n=True, limits=True, requests=True)
        limit = re.fullmatch(r"memory=(\d+)(Mi|Gi)", options["limits"])
        if not limit:
            raise Refused(f"limits: {options['limits']}")
        # A cgroup cannot be made here without privileges; the setting stands for its limit.
        limit = str(int(limit[1]) * 1024 ** (2 if limit[2] == "Mi" else 3))
        ask("restart", name=deployment(word), env={"WORKFLOW_MEMORY_LIMIT_BYTES": limit})
        print(f"deployment.apps/{deployment(word)} resource requirements updated")
    else:
        raise Refused(f"set {verb}")


def logs(arguments):
    options, words = read(arguments, n=True, l=True, f=False, tail=True, prefix=False, **{"all-containers": False})
    if words:
        pods = ask("pods", name=deployment(words[0]))[:1]  # of several pods kubectl takes one
        tail = int(options.get("tail", -1))
    else:
        pods = [pod for name in selected(options["l"]) for pod in ask("pods", name=name)]
        tail = int(options.get("tail", 10))  # with a selector kubectl shows the last ten lines
    offsets = {}
    for pod in pods:
        text = Path(pod["log"]).read_bytes()
        offsets[pod["log"]] = len(text)
        lines = text.decode(errors="replace").splitlines()
        for line in lines if tail < 0 else lines[len(lines) - tail if tail < len(lines) else 0 :]:
            print(f"[pod/{pod['name']}] {line}" if options.get("prefix") else line)
    sys.stdout.flush()
    while options.get("f"):
        time.sleep(FOLLOW_SECONDS)
        for pod in pods:
            with open(pod["log"], "rb") as file:
                file.seek(offsets[pod["log"]])
                more = file.read()
            offsets[pod["log"]] += len(more)
            sys.stdout.write(more.decode(errors="replace"))
            sys.stdout.flush()


def top(arguments):
    options, (kind,) = read(arguments, n=True, l=True)
    if kind != "pods":
        raise Refused(f"top {kind}")
    print("NAME                              CPU(cores)   MEMORY(bytes)")
    for name in selected(options["l"]):
        for pod in ask("pods", name=name):
            print(f"{pod['name']:<33} -            {pod['rss'] // 1024**2}Mi")


COMMANDS = {
    "rollout": rollout,
    "delete": delete,
    "wait": wait,
    "scale": scale,
    "set": set_,
    "logs": logs,
    "top": top,
}


def main():
    arguments = sys.argv[1:]
    try:
        if not arguments or arguments[0] not in COMMANDS:
            raise Refused(f"only {', '.join(COMMANDS)} are known here")
        COMMANDS[arguments[0]](arguments[1:])
    except (Refused, ValueError, KeyError) as error:
        sys.exit(f"kubectl (stand-in): {' '.join(arguments)}: {error}")
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(1)


if __name__ == "__main__":
    main()
