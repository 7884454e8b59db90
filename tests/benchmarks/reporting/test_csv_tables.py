"""CSV files as other programs export them: they are read, or one line says what the file is and what to do."""

import csv
import gzip
import io

import pytest

from benchmarks.common.errors import UserError
from benchmarks.reporting import results_table
from tests.benchmarks.synthetic_runs import make_results

TABLE = make_results(seeds=range(2)).assign(schema_version=4, error="a, b; c", processor="Xeon®")
TEXT = TABLE.to_csv(index=False)


def write_rows(**options):
    file = io.StringIO()
    csv.writer(file, **options).writerows(csv.reader(io.StringIO(TEXT)))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        write_rows(quoting=csv.QUOTE_ALL).encode(),
        b"\xef\xbb\xbf" + write_rows(quoting=csv.QUOTE_ALL, lineterminator="\r\n").encode(),
        TABLE.to_csv(index=True).encode(),
        TABLE[sorted(TABLE.columns)].to_csv(index=False).encode(),
    ],
    ids=["bom", "crlf", "cr", "quoted", "bom-quoted-crlf", "index", "order"],
)
def test_other_ways_to_write_the_same_table_are_read(tmp_path, content):
    path = tmp_path / "results.csv"
    path.write_text(TEXT, encoding="utf-8")
    expected = results_table.read_results(path)
    path.write_bytes(content)
    assert results_table.read_results(path)[list(expected.columns)].equals(expected)


def replace_elbo(text):
    """A table in which the first ELBO has this text."""
    return TABLE.assign(elbo=[text, *TABLE["elbo"].map(str)[1:]]).to_csv(index=False)


DECIMAL_COMMAS = TABLE.to_csv(index=False, sep=";", decimal=",")
OTHERS = {
    "semicolons": (DECIMAL_COMMAS.encode(), "separated by semicolons; export it with commas"),
    "semicolons, BOM": (b"\xef\xbb\xbf" + DECIMAL_COMMAS.encode(), "separated by semicolons; export it with commas"),
    "semicolons, cut": (DECIMAL_COMMAS.encode()[:-1], "separated by semicolons; export it with commas"),
    "tabs": (TABLE.to_csv(index=False, sep="\t").encode(), "separated by tabs; export it with commas"),
    "bars": (TABLE.to_csv(index=False, sep="|").encode(), "separated by vertical bars; export it"),
    "sep line": (b"sep=,\r\n" + TEXT.encode(), "its first line is 'sep=,', not the header; delete that line"),
    "decimal comma": (replace_elbo("-90,5").encode(), "elbo is -90,5, which is not a number; export it with points"),
    "decimal commas": (TEXT.replace("0.03", "0,03").encode(), "as with decimal commas"),
    "one long row": (
        TEXT.encode() + TEXT.splitlines()[1].replace("0.03", "0,03").encode() + b"\n",
        "line 6 has .* fields, but the header has",
    ),
    "UTF-16": (TEXT.encode("utf-16"), "it is in UTF-16; export it as CSV in UTF-8"),
    "UTF-16 without BOM": (TEXT.encode("utf-16-be"), "it is in UTF-16; export it"),
    "UTF-32": (TEXT.encode("utf-32"), "it is in UTF-32; export it"),
    "Latin-1": (TEXT.encode("latin-1"), "is not UTF-8; export it as CSV in UTF-8"),
    "Excel": (b"PK\x03\x04" + bytes(40), "an Excel file or another ZIP archive; export it as CSV"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1" + bytes(40), "an Excel file; export it as CSV"),
    "gzip": (gzip.compress(TEXT.encode()), "compressed by gzip; unpack it first, with 'gunzip'"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS; .* 'git lfs pull'"),
    "HTML": (b"\n<!DOCTYPE html>\n<title>404</title>\n", "a page in HTML or XML, perhaps a server's error message"),
    "JSON": (b'{"schema_version": 4}', "it is a JSON file, not a table; give the results.csv"),
    "empty": (b"", "it is empty; get the complete file"),
    "only a BOM": (b"\xef\xbb\xbf", "it is empty; get the complete file"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named_in_one_line(tmp_path, name):
    content, words = OTHERS[name]
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as refused:
        results_table.read_results(path)
    assert str(path) in str(refused.value)
    assert str(refused.value).isprintable()


def test_folders_and_unreadable_files_are_named_in_one_line(tmp_path, ask):
    with pytest.raises(UserError, match=r"can't read .*: Is a directory; give a file that you can read"):
        results_table.read_results(tmp_path)
    good, broken = tmp_path / "runs" / "good", tmp_path / "runs" / "broken"
    for folder in (good, broken):
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "results.csv").write_text(TEXT, encoding="utf-8")
    (broken / "results.csv").write_text(DECIMAL_COMMAS, encoding="utf-8")
    for arguments, words in (
        (["show", tmp_path / "runs"], "runs is a folder of runs; name one of them: "),
        (["compare", tmp_path / "runs", good], "runs is a folder of runs; name one of them: "),
        (["compare", tmp_path / "runs", tmp_path / "runs"], "runs is a folder of runs; name one of them: "),
        (["history", tmp_path / "runs"], "broken/results.csv: it is separated by semicolons"),
    ):
        done = ask(*arguments, "--out", tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (64, 1), done.stderr
        assert words in done.stderr


def test_a_metric_without_values_is_named(tmp_path, ask):
    """As in a table of a commit that did not have the metric."""
    path = tmp_path / "results.csv"
    TABLE.drop(columns="validation_elbo").assign(schema_version=1).to_csv(path, index=False)
    table = ask("show", path, "--metrics", "validation_elbo,elbo")
    assert (table.returncode, table.stderr) == (0, f"{path} has no values of validation_elbo\n")
    compared = ask("compare", path, path, "--metrics", "processor_throughput")
    assert compared.returncode == 64
    assert compared.stderr == f"error: --metrics: {path} has no values of processor_throughput; choose others\n"
    assert ask("compare", path, path, "--metrics", "elbo").returncode == 0
