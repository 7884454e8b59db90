"""Two hosts on this machine: network namespaces that are joined by a link, each with folders of its own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "clusters.md").read_text()
PORT = 8786
# the shortest that Dask allows; a link that is cut for less than this is not noticed
SHORT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "11s"}


@dataclass(frozen=True)
class Host:
    """A network namespace, its address, and a folder for the cache, temporary files and the working folder.

    processes: those that were started. environment: variables of all of them.
    """

    namespace: str
    address: str
    folder: Path
    processes: list
    environment: dict

    def start(self, line, **environment):
        """Start a line of bash as a process group; its output goes to a file of its number in the host's folder."""
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        folders = {"HOME": "", "VAEZOO_CACHE": "cache", "TMPDIR": "tmp"}
        variables = os.environ | self.environment | {key: str(self.folder / name) for key, name in folders.items()}
        variables |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
        output = self.folder / f"{len(self.processes)}.txt"
        with output.open("w") as stream:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, "bash", "-c", line],
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=variables | environment,
                start_new_session=True,
            )
        process.output = output
        self.processes.append(process)
        return process

    def kill(self, process):
        """End a process and its children at once, as the failure of its host does."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def set_link(self, state):
        """Set the host's end of the link up or down."""
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "eth0", state], check=True)

    def drop_packets(self, drop):
        """Drop all packets that the host sends, without a word to anyone."""
        words = ["add", "dev", "eth0", "root", "blackhole"] if drop else ["del", "dev", "eth0", "root"]
        subprocess.run(["ip", "netns", "exec", self.namespace, "tc", "qdisc", *words], check=True)


@pytest.fixture
def hosts(tmp_path, mark, survivors):
    """Hosts A and B; the link between them is all that they share, except that both read the code."""
    tag = uuid.uuid4().hex[:8]
    made = [Host(f"{tag}{name}", f"10.77.0.{i}", tmp_path / name, [], mark | SHORT) for i, name in enumerate("ab", 1)]
    commands = [f"ip netns add {host.namespace}" for host in made]
    commands.append(f"ip link add eth0 netns {made[0].namespace} type veth peer name eth0 netns {made[1].namespace}")
    for host in made:
        commands.append(f"ip -n {host.namespace} addr add {host.address}/24 dev eth0")
        commands += [f"ip -n {host.namespace} link set {device} up" for device in ("lo", "eth0")]
    try:
        for command in commands:
            if shutil.which("ip") is None:
                pytest.skip("network namespaces need the program ip, of iproute2")
            done = subprocess.run(command.split(), capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"network namespaces are not allowed here: {command}: {done.stderr.strip()}")
        yield made
        for host in made:
            for process in host.processes:
                if process.poll() is None:
                    host.kill(process)
        assert survivors() == []
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)


def read_section(title):
    """The commands, and the other code blocks, of a section of the page."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    blocks = [re.sub(r"^   ", "", block, flags=re.M) for block in re.findall(r"```\w+\n(.*?)```", text, re.S)]
    commands = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return commands, [block for block in blocks if not block.startswith("$ ")]


@pytest.fixture(scope="session")
def section():
    return read_section


@pytest.fixture
def secured(hosts):
    """The hosts with certificates and Dask's configuration, as the page says; returns the page's later commands."""
    commands, (settings,) = read_section("Security")
    issued = [command for command in commands if command.startswith("openssl")]
    for command in issued:
        done = subprocess.run(
            ["bash", "-c", f"mkdir -p {hosts[0].folder} && cd {hosts[0].folder} && {command}"], capture_output=True
        )
        assert done.returncode == 0, done.stderr
    for host in hosts:
        (host.folder / ".config" / "dask").mkdir(parents=True)
        (host.folder / ".config" / "dask" / "vaezoo.yaml").write_text(settings.replace("/FOLDER", str(host.folder)))
        for name in ("ca.pem", "host.pem", "host.key"):
            if host is not hosts[0]:
                shutil.copy(hosts[0].folder / name, host.folder)
    return [command.replace("HOST", hosts[0].address) for command in commands if command not in issued]


QUICK = "--preset quick"
RUN = "python -m benchmarks run vae reinforce-vae --seeds 2 --no-figures --no-report"


@pytest.fixture(scope="session")
def longer(tiny):
    """Options of cells that take a second or more, so that a link can be cut while they run."""
    return f"--preset {tiny} --epochs 20"


@pytest.fixture(scope="session")
def local(make_once, command):
    """The folder of a run on this machine: local(options) -> folder."""

    def run(options):
        words = [*RUN.split()[3:], *options.split(), "--name", "run"]
        return make_once(f"local{len(options)}", lambda out: command(*words, "--out", out)).folder / "run"

    return run


@pytest.fixture(scope="session")
def run_on():
    """Start a run on a host: run_on(host, scheduler's address, options) -> process."""

    def start(host, address, options=QUICK):
        return host.start(f"exec {RUN} {options} --name run --executor dask --scheduler {address}")

    return start


def wait(condition, seconds=180):
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


@pytest.fixture(scope="session")
def until():
    return wait
