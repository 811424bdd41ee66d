"""Records as tables: whatever is in them, and however the process that read them ends."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from motionecho.runs.records import Record
from motionecho.runs.results import read_entries, read_records
from motionecho.runs.tables import as_row, to_parquet

PROGRAM = """
import sys
from pathlib import Path
from motionecho.runs.results import read_entries, read_records, renewed
part = Path(sys.argv[1]).read_bytes()
entries = {entry.key: entry for entry in read_entries(part)}
first = next(read_records(part))
print(len(entries), first.id, len(renewed(part, {*entries}, entries, {"note": "string"}, "/run")) > 0)
"""
TIMES = 30


def part(count: int) -> bytes:
    keys = [f"{n:032x}" for n in range(count)]
    records = [
        Record(key=key, id=f"s{key[-5:]}", status="ok", inputs={"id": f"s{key[-5:]}", "note": key * 9})
        for key in keys
    ]
    return to_parquet([as_row(record, "/run") for record in records])


def test_a_part_is_read_as_it_was_written() -> None:
    written = part(700)
    assert [entry.id for entry in read_entries(written)] == [record.id for record in read_records(written)]
    assert len(list(read_entries(written))) == 700


def test_no_program_that_read_a_part_ends_with_an_abort(tmp_path: Path) -> None:
    """Arrow's threads gave memory of Python's back while Python ended: code 134, in one of three programs."""
    (tmp_path / "part.parquet").write_bytes(part(3000))
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "part.parquet")]
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(lambda _: subprocess.run(command, capture_output=True, text=True), range(TIMES)))
    assert {(end.returncode, end.stdout, end.stderr) for end in ends} == {(0, "3000 s00000 True\n", "")}
