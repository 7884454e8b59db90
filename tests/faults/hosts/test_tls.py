"""A cluster of two hosts, encrypted as the page says; whoever has no certificate is refused with one line."""

import shutil

import pandas as pd
import pytest

pytestmark = pytest.mark.faults
SLURM = {
    "OMP_PROC_BIND": "true",
    "OMP_PLACES": "cores",
    "OMP_NUM_THREADS": "1",
    "SLURM_JOB_ID": "7",
    "SLURM_CPUS_PER_TASK": "1",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
    "LC_ALL": "C",
    "LANG": "C",
    "MPLBACKEND": "module://none",
}


@pytest.mark.parametrize("environment", [{}, SLURM], ids=["plain", "slurm"])
def test_workers_of_another_host_give_the_bits_of_this_machine(environment, hosts, secured, run_on, local, numbers):
    a, b = hosts
    scheduler, worker, _ = secured
    a.start(f"exec {scheduler}")
    b.start(f"exec {'taskset -c 0 ' * bool(environment)}{worker}", **environment)
    process = run_on(a, f"tls://{a.address}:8786")
    assert process.wait(300) == 0, process.output.read_text()
    pd.testing.assert_frame_equal(numbers(a.folder / "results" / "run"), numbers(local("--preset quick")))
    assert (b.folder / "cache" / "cluster").is_dir()
    assert not (b.folder / "results").exists()


def test_a_client_without_a_certificate_of_the_authority_is_refused(hosts, secured, run_on):
    a, b = hosts
    a.start(f"exec {secured[0]}")
    settings = b.folder / ".config" / "dask" / "vaezoo.yaml"
    done = run_on(b, f"tcp://{a.address}:8786")
    assert done.wait(90) == 64
    check(done, "encryption required by Dask configuration, refusing communication from/to 'tcp://10.77.0.1:8786'")
    settings.unlink()
    done = run_on(b, f"tls://{a.address}:8786")
    assert done.wait(90) == 64
    check(done, "TLS needs a certificate: name it in Dask's configuration, as docs/clusters.md says")
    done = run_on(b, f"tcp://{a.address}:8786")
    assert done.wait(90) == 64
    check(done, "closed")
    shutil.copytree(a.folder / ".config", b.folder / ".config", dirs_exist_ok=True)
    settings.write_text(settings.read_text().replace(str(a.folder), str(b.folder)))
    line = 'openssl req -x509 -newkey rsa:2048 -nodes -subj "/CN=other" -keyout host.key -out host.pem'
    assert b.start(line).wait(60) == 0
    done = run_on(b, f"tls://{a.address}:8786")
    assert done.wait(90) == 64
    check(done, "; check the certificates, or start one")  # the reason is an alert or a closed connection
    assert b.start("rm host.key").wait(60) == 0
    done = run_on(b, f"tls://{a.address}:8786")
    assert done.wait(90) == 64
    check(done, "No such file")


def check(process, reason):
    """One line, with the reason."""
    (line,) = process.output.read_text().splitlines()
    assert line.startswith("error: --scheduler t")
    assert reason in line


def test_a_cluster_of_this_machine_is_encrypted_too_if_the_configuration_requires_it(hosts, secured, local, numbers):
    a, _ = hosts
    words = "run vae reinforce-vae --seeds 2 --no-figures --no-report --preset quick --name run --executor dask"
    process = a.start(f"exec python -m benchmarks {words}")
    assert process.wait(300) == 0, process.output.read_text()
    pd.testing.assert_frame_equal(numbers(a.folder / "results" / "run"), numbers(local("--preset quick")))
