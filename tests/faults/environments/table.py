"""Environments in which people start the program: variables, flags of Python, limits, streams and folders."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BASH = shutil.which("bash") or "bash"  # a test may replace PATH
PACKAGE = {  # what the module of an installed package does at its import
    "exits": "import sys; sys.exit(0)",
    "leaves": "import os; os._exit(0)",
    "raises": "1 / 0",
    "interrupts": "raise KeyboardInterrupt",
    "kills": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "lacks variants": "VARIANTS = 3",
    "takes a name": "from vaezoo import VARIANTS",
    "changes torch": (
        "import numpy, os, signal, torch, warnings\n"
        "torch.set_default_dtype(torch.float64); torch.set_default_device('meta'); torch.set_grad_enabled(False)\n"
        "numpy.seterr(all='raise'); warnings.simplefilter('error'); os.chdir('/')\n"
        "os.environ['OMP_NUM_THREADS'] = '9'\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); torch.set_num_threads(7)"
    ),
}


@dataclass(frozen=True)
class Environment:
    """One environment.

    variables: added to the environment; None removes one. flags: of Python. shell: commands before the program, in
    which $FOLDER is a folder of the test. redirect: of the program's streams, by the shell. setup: prepares the folder.
    """

    variables: dict[str, str | None] = field(default_factory=dict)
    flags: str = ""
    shell: str = ""
    redirect: str = ""
    setup: Callable[[Path], None] = lambda folder: None

    def run(self, folder: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run the program in the folder; return its exit code and outputs."""
        self.setup(folder)
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "FOLDER": str(folder)}
        variables |= {name: (value or "").replace("$FOLDER", str(folder)) for name, value in self.variables.items()}
        for name, value in self.variables.items():
            if value is None:
                del variables[name]
        program = f"{shlex.quote(sys.executable)} {self.flags} -m benchmarks {shlex.join(arguments)}"
        script = f"{self.shell}\n{program} {self.redirect}"
        return subprocess.run(
            [BASH, "-c", script], cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False
        )


def write(name: str, text: str) -> Callable[[Path], None]:
    """Return a function that writes this file into the folder."""

    def setup(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode("latin-1"))

    return setup


def install(*names: str) -> Environment:
    """Return an environment with packages that register variants, and do something else."""

    def setup(folder: Path) -> None:
        for i, name in enumerate(names):
            info = f"site/package{i}-1.dist-info"
            write(f"site/package{i}.py", PACKAGE[name])(folder)
            write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: package{i}\nVersion: 1.0\n")(folder)
            write(f"{info}/entry_points.txt", f"[vaezoo.variants]\nzoo = package{i}\n")(folder)

    return Environment({"PYTHONPATH": f"{ROOT}:$FOLDER/site"}, setup=setup)


def mount_noexec(variable: str) -> Environment:
    """Return an environment whose folder is on a file system mounted noexec; needs the rights of root."""

    def setup(folder: Path) -> None:
        mount = "mkdir -p noexec && mount -t tmpfs -o noexec,size=64m tmpfs noexec && umount noexec"
        trial = ["bash", "-c", f"unshare -m bash -c '{mount}'"]
        if subprocess.run(trial, cwd=folder, capture_output=True, check=False).returncode:
            pytest.skip("file systems can't be mounted here")

    shell = "exec unshare -m bash -c 'mount -t tmpfs -o noexec,size=256m tmpfs noexec && exec \"$@\"' bash \\"
    return Environment({variable: "$FOLDER/noexec"}, shell=shell, setup=setup)


JUNK_RC = "backend: nosuch\nfont.size: junk\n\xff\xfe"
ENVIRONMENTS = {
    "plain": Environment(),
    # matplotlib
    "backend of a notebook": Environment({"MPLBACKEND": "module://matplotlib_inline.backend_inline"}),
    "backend that is not there": Environment({"MPLBACKEND": "nosuch"}),
    "backend of a screen": Environment({"MPLBACKEND": "QtAgg", "DISPLAY": ":99", "QT_QPA_PLATFORM": "xcb"}),
    "matplotlibrc in the folder": Environment(setup=write("matplotlibrc", JUNK_RC)),
    "matplotlibrc by variable": Environment({"MATPLOTLIBRC": "$FOLDER/rc"}, setup=write("rc", JUNK_RC)),
    "broken style": Environment(
        {"XDG_CONFIG_HOME": "$FOLDER/config"}, setup=write("config/matplotlib/stylelib/x.mplstyle", JUNK_RC)
    ),
    "no folder for matplotlib": Environment({"MPLCONFIGDIR": "/proc/nosuch"}),
    # threads and instruction sets
    "binding of OpenMP": Environment({"OMP_PROC_BIND": "true", "OMP_PLACES": "cores", "OMP_NUM_THREADS": "7"}),
    "binding of Intel": Environment({"KMP_AFFINITY": "granularity=fine,compact,1,0", "KMP_BLOCKTIME": "1"}),
    "binding of GNU": Environment({"GOMP_CPU_AFFINITY": "0", "OMP_DYNAMIC": "true", "OMP_SCHEDULE": "dynamic"}),
    "MKL": Environment({"MKL_NUM_THREADS": "junk", "MKL_CBWR": "COMPATIBLE", "MKL_DYNAMIC": "FALSE"}),
    "OpenBLAS": Environment({"OPENBLAS_NUM_THREADS": "64", "OPENBLAS_CORETYPE": "Prescott", "GOTO_NUM_THREADS": "3"}),
    "old instructions": Environment({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "rounded products": Environment({"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "NVIDIA_TF32_OVERRIDE": "1"}),
    "numpy": Environment({"NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "NPY_PROMOTION_STATE": "legacy"}),
    "torch": Environment({"TORCH_LOGS": "+all", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1", "PYTORCH_JIT": "0"}),
    "pandas": Environment({"PANDAS_FUTURE_INFER_STRING": "0", "PANDAS_COPY_ON_WRITE": "warn", "SCIPY_ARRAY_API": "1"}),
    "Slurm": Environment({"SLURM_CPUS_PER_TASK": "1", "SLURM_JOB_ID": "7", "SLURM_PROCID": "3", "SLURM_NTASKS": "4"}),
    "one core": Environment(shell="exec taskset -c 0 \\" if shutil.which("taskset") else ""),
    "low priority": Environment(shell="exec nice -n 19 \\"),
    # language and terminal
    "C locale": Environment({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "ASCII streams": Environment({"PYTHONIOENCODING": "ascii"}),
    "Turkish locale": Environment({"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}),
    "locale that is not there": Environment({"LC_ALL": "xx_XX", "LANGUAGE": "xx"}),
    "time zone that is not there": Environment({"TZ": "Nowhere/Land"}),
    "dumb terminal": Environment({"TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "junk", "LINES": "0"}),
    "bars": Environment({"TQDM_MININTERVAL": "junk", "TQDM_DISABLE": "1", "TQDM_NCOLS": "-1"}),
    # folders
    "no home": Environment({"HOME": None, "XDG_CACHE_HOME": None, "VAEZOO_CACHE": None}),
    "home that can't be written": Environment({"HOME": "/proc", "XDG_CACHE_HOME": "/proc/x", "VAEZOO_CACHE": None}),
    "cache with a strange name": Environment({"VAEZOO_CACHE": "$FOLDER/ c\u00e4che 'x'\n"}),
    "long TMPDIR": Environment({"TMPDIR": f"$FOLDER/{'x' * 100}"}, shell='mkdir -p "$TMPDIR"'),
    "TMPDIR that is not there": Environment({"TMPDIR": "$FOLDER/nosuch"}),
    "TMPDIR that can't be written": Environment({"TMPDIR": "/proc", "TEMP": "/proc", "TMP": "/proc"}),
    "relative TMPDIR": Environment({"TMPDIR": "tmp"}, shell="mkdir -p tmp"),
    "noexec TMPDIR": mount_noexec("TMPDIR"),
    "noexec cache": mount_noexec("VAEZOO_CACHE"),
    "umask 077": Environment(shell="umask 077"),
    "umask 002": Environment(shell="umask 002"),
    "umask 000": Environment(shell="umask 000"),
    # limits
    "few open files": Environment(shell="ulimit -n 64"),
    "small stack": Environment(shell="ulimit -s 512"),
    "no core files": Environment(shell="ulimit -c 0"),
    "large address space": Environment(shell="ulimit -v 60000000"),
    # Python
    "python -O": Environment(flags="-O"),
    "python -OO": Environment({"PYTHONDONTWRITEBYTECODE": "1"}, flags="-OO"),
    "python -W error": Environment(flags="-W error"),
    "warnings by variable": Environment({"PYTHONWARNINGS": "error"}),
    "python -X dev": Environment(flags="-X dev"),
    "python -i": Environment(flags="-i", redirect="</dev/null"),
    "inspection by variable": Environment({"PYTHONINSPECT": "1"}, redirect="</dev/null"),
    "python -u": Environment(flags="-u"),
    "python -s": Environment({"PYTHONNOUSERSITE": "1"}, flags="-s"),
    "hash seed": Environment({"PYTHONHASHSEED": "123"}),
    "fault handler": Environment({"PYTHONFAULTHANDLER": "1", "PYTHONMALLOC": "debug", "PYTHONTRACEMALLOC": "1"}),
    "start-up file": Environment({"PYTHONSTARTUP": "$FOLDER/s.py"}, setup=write("s.py", "1 / 0")),
    # other programs
    "git hook": Environment({"GIT_DIR": "/nosuch", "GIT_INDEX_FILE": "index", "GIT_WORK_TREE": "/proc"}),
    "no git": Environment({"GIT_CONFIG_GLOBAL": "/nosuch", "GIT_CEILING_DIRECTORIES": "/"}),
    "proxy": Environment({"http_proxy": "http://127.0.0.1:9", "https_proxy": "junk", "no_proxy": ""}),
    "Dask settings": Environment({"DASK_SCHEDULER": "threads", "DASK_CONFIG": "/nosuch"}),
    "continuous integration": Environment({"CI": "true", "GITHUB_ACTIONS": "true", "FORCE_COLOR": "1"}),
    "no GPU": Environment({"CUDA_VISIBLE_DEVICES": "", "CUDA_HOME": "/nosuch", "LD_BIND_NOW": "1"}),
    "filled memory": Environment({"MALLOC_PERTURB_": "123", "MALLOC_ARENA_MAX": "1"}),
    "no compiler": Environment({"CXX": "nosuch"}),
    "compiler with arguments": Environment({"CXX": "ccache g++", "CXXFLAGS": "-O0", "CPATH": "/nosuch"}),
    "modules in the folder": Environment(setup=write("statistics.py", "1 / 0")),
    "package in the folder": Environment(setup=write("torch/__init__.py", "1 / 0")),
    "TMPDIR with a strange name": Environment({"TMPDIR": "$FOLDER/ t\u00e4 'x'"}, shell='mkdir -p "$TMPDIR"'),
    "safe path": Environment({"PYTHONSAFEPATH": "1", "PYTHONNODEBUGRANGES": "1", "PYTHONUTF8": "1"}),
    # signals and sessions
    "no terminal": Environment(shell="exec setsid -w \\"),
    "ignored signals": Environment(shell="trap '' HUP PIPE USR1 USR2"),
    "nohup": Environment(shell="exec nohup \\", redirect="</dev/null"),
    # streams
    "closed input": Environment(redirect="<&-"),
    "closed errors": Environment(redirect="2>&-"),
    "full errors": Environment(redirect="2>/dev/full"),
    # installed packages
    **{f"package that {name}": install(name) for name in PACKAGE},
    "all packages": install(*PACKAGE),
}
# environments in which each command runs; the others run one command
MATRIX = (
    "backend of a notebook", "matplotlibrc in the folder", "binding of OpenMP", "MKL", "old instructions", "Slurm",
    "C locale", "no home", "home that can't be written", "long TMPDIR", "noexec TMPDIR", "umask 077", "few open files",
    "python -OO", "python -W error", "python -X dev", "python -i", "closed errors", "git hook", "all packages",
)  # fmt: skip
RUN = ["--preset", "tiny.toml", "--no-figures", "--no-report", "--out", "out", "--name", "new"]
STUDY = [word.replace("tiny", "study") for word in RUN]
COMMANDS = {
    "run": ["run", "vae", "reinforce-vae", *RUN],
    "gradients": ["gradients", "--study", "counter-example", "--study", "draws", *STUDY],
    "show": ["show", "runs/run", "--all-metrics"],
    "show markdown": ["show", "runs/run", "--format", "markdown"],
    "plot": ["plot", "runs/run"],
    "report": ["report", "runs/run", "--out", "page.html"],
    "list": ["list", "variants", "--long"],
    "check": ["check", "autoencoder"],
    "compare": ["compare", "runs/run", "runs/run"],
    "compare with a worse run": ["compare", "runs/run", "worse"],
    "history": ["history", "runs/run", "--out", "runs"],
    "power": ["power", "runs/run", "--out", "runs"],
    "evaluate": ["evaluate", "runs/run", "--log-likelihood-draws", "30"],
    "sample": ["sample", "runs/run", "vae"],
    "merge": ["merge", "runs/run", "--no-figures", "--no-report", "--out", "out"],
    "export": ["export", "runs/run"],
    "rebuild": ["rebuild", "runs/run"],
    "profile": ["profile", "vae", "--preset", "tiny.toml", "--steps", "5"],
    "unknown": ["run", "nosuch", *RUN],
}
