"""Places: what a URL is stored as, which are opened, and that a path is taken as it is written."""

import copy
import json
import os
import pickle
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from motionecho.errors import BadSample, NotThere, UserError
from motionecho.runs import files
from motionecho.runs.files import fetch, open_url
from motionecho.runs.folder import Folder
from motionecho.runs.keys import digest
from motionecho.runs.places import Place, check, opened
from motionecho.runs.urls import bare, carried, lacks, told

AWS = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F1&X-Amz-Expires=60&X-Amz-SignedHeaders=host"


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("https://host/a.mp4", "https://host/a.mp4"),
        ("https://user:word@host/a.mp4", "https://***@host/a.mp4"),
        ("https://word@host/a.mp4", "https://***@host/a.mp4"),
        ("HTTPS://user:word@host/a.mp4", "HTTPS://***@host/a.mp4"),
        ("http://user:word@[::1]:80/a.mp4", "http://***@[::1]:80/a.mp4"),
        ("https://user:wo/rd@host/a.mp4", "https://***@host/a.mp4"),
        ("https://user:wo#rd@host/a.mp4", "https://***@host/a.mp4"),
        (f"https://host/a.mp4?versionId=3sL4k&{AWS}&X-Amz-Signature=f00", "https://host/a.mp4?versionId=3sL4k&***"),
        ("https://host/a.mp4?X-Goog-Algorithm=G&X-Goog-Signature=f00", "https://host/a.mp4?***"),
        ("https://host/a.mp4?Expires=1700000000&Signature=f%3D&Key-Pair-Id=K", "https://host/a.mp4?***"),
        ("https://a.blob.core.windows.net/c/a.mp4?sv=2022-11-02&sr=b&sp=r&se=2030-01-01T00%3A00%3A00Z&sig=f%2B",
         "https://a.blob.core.windows.net/c/a.mp4?***"),
        ("https://host/a.mp4?id=5&token=word", "https://host/a.mp4?id=5&***"),
        ("https://host/a.mp4?id=5&%61ccess_%74oken=word", "https://host/a.mp4?id=5&***"),
        ("https://host/a.mp4?camera=3&take=2", "https://host/a.mp4?camera=3&take=2"),
        ("https://host/a.mp4?what=e3b0c44298fc", "https://host/a.mp4?***"),
        ("https://host/a.mp4?e3b0c44298fc1c149afbf4", "https://host/a.mp4?***"),
        ("https://host/a.mp4?file=https%3A%2F%2Fu%3Aword%40host%2Fb", "https://host/a.mp4?***"),
        ("https://host/a.mp4?file=b%3Ftoken%3Dword", "https://host/a.mp4?***"),
        ("https://host/to/https://u:word@other/a.mp4", "https://host/to/https://***@other/a.mp4"),
        ("https://host/a.mp4;jsessionid=word?id=5", "https://host/a.mp4;***?id=5"),
        ("https://host/a.mp4#access_token=word", "https://host/a.mp4"),
        ("s3://bucket/what?.mp4", "s3://bucket/what?.mp4"),
        ("s3://KEY:word@bucket/a.mp4", "s3://***@bucket/a.mp4"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a.mp4", "s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a.mp4"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("az://container/a.mp4?sv=2022-11-02&sig=word", "az://container/a.mp4?***"),
        ("sftp://me@host/a.mp4", "sftp://me@host/a.mp4"),
        ("zip://a::https://u:word@host/b.zip", "zip://a::https://***@host/b.zip"),
        ("https://user:123/45@host/a.mp4", "https://***@host/a.mp4"),
        ("https://first.last:123/4?5@host.org:80/a.mp4", "https://***@host.org:80/a.mp4"),
        ("http://minio:9000/bucket/a@2x.mp4", "http://minio:9000/bucket/a@2x.mp4"),
        ("https://cdn.host.org:8080/a@2.5/b.mp4", "https://cdn.host.org:8080/a@2.5/b.mp4"),
        ("https://user:word/b.mp4", "https://***@/b.mp4"),
        ("s3://KEY:wo/rd@bucket/a.mp4", "s3://***@bucket/a.mp4"),
        ("s3://KEY:wo/rd+x=@bucket/a@b.mp4", "s3://***@b.mp4"),
        ("s3://KEY:1/2@bucket/a.mp4", "s3://***@bucket/a.mp4"),
        ("gs://KEY%3Aword@bucket/a.mp4", "gs://***@bucket/a.mp4"),
        ("hf://hf_AbCdEfGh@datasets/o/n/a.mp4", "hf://***@datasets/o/n/a.mp4"),
        ("hf://datasets/o/n@main/a.mp4", "hf://datasets/o/n@main/a.mp4"),
        ("sftp://host:22/a@b.mp4", "sftp://host:22/a@b.mp4"),
        ("https://host/hdnts=exp=1~acl=*~hmac=e3b0c442/a.mp4", "https://host/***/a.mp4"),
        ("https://host/sig=e3b0c44298fc/a.mp4", "https://host/***/a.mp4"),
        ("https://host/session=3/a.mp4", "https://host/session=3/a.mp4"),
        ("https://host/a.mp4?next=https://u:word@h/b", "https://host/a.mp4?***"),
        ("https://host/a.mp4?download=planted-word", "https://host/a.mp4?***"),
        ("https://host/a.mp4?download=a.mp4&id=5", "https://host/a.mp4?download=a.mp4&id=5"),
        ("https://host/a.mp4?ref=pl4nt3dw0rd", "https://host/a.mp4?***"),
        ("https://host/a.mp4?access=planted&v=2", "https://host/a.mp4?v=2&***"),
        ("https://host/a.mp4?x=sesame", "https://host/a.mp4?***"),
        ("file:///a/b?sig=1#c.mp4", "file:///a/b?sig=1#c.mp4"),
        ("clips/a?sig=1@b.mp4", "clips/a?sig=1@b.mp4"),
    ],
)  # fmt: skip
def test_a_url_is_stored_without_what_opens_it(url: str, stored: str) -> None:
    place = Place(url)
    assert place == bare(url) == stored
    assert bare(stored) == stored, "what was stored is stored the same again"
    assert opened(place) == url
    assert place.is_secret == lacks(stored) == ("***" in stored)


def test_what_is_signed_again_is_the_same_place() -> None:
    first, second = (Place(f"https://host/a.mp4?id=1&Expires={n}&Signature=f{n}") for n in (1, 2))
    assert first == second
    assert digest({"reference": first}) == digest({"reference": second})
    assert Place("https://host/a.mp4?id=2&Signature=f1") != first


def test_a_place_keeps_what_opens_it_in_memory_alone() -> None:
    url = "https://user:word@host/a.mp4?Signature=f00"
    place = Place(url)
    for other in (pickle.loads(pickle.dumps(place)), copy.deepcopy(place), Place(place)):
        assert (other, opened(other)) == ("https://***@host/a.mp4?***", url)
    written = [
        json.dumps({"a": place}),
        f"{place}",
        repr(place),
        str(pa.array([place]).to_pylist()),
    ]
    assert not [text for text in written if "word" in text or "f00" in text]


def test_texts_are_told_without_the_logins_in_them() -> None:
    said = "Cannot connect to https://u:word@host/a.mp4?sig=f00: URL('https://host/b?token=word') 's3://b/k'"
    assert told(said) == "Cannot connect to https://***@host/a.mp4?***: URL('https://host/b?***') 's3://b/k'"
    said = "(--address http://HEAD:8265): its driver; or me@host.org"
    assert told(said) == said
    for said, shown in {
        "of https://u:pass word@host/a was": "of https://***@host/a was",
        'of https://u:pa"ss<w@host/a was': "of https://***@host/a was",
        "of https:/u:word@host/a and https:u:word@host/b": "of https:/***@host/a and https:***@host/b",
        "at https://host/a#access_token=word.": "at https://host/a.",
        "https://host/a?sig=word, https://host/b; (https://host/c)": (
            "https://host/a?***, https://host/b; (https://host/c)"
        ),
        "http://host:80/a, me@x.org": "http://host:80/a, me@x.org",
    }.items():
        assert told(said) == shown
    place = Place("https://user:long%20word@host/a.mp4?x=e3b0c44298fc")
    assert place.told("user:long word, long%20word and e3b0c44298fc") == "***, *** and ***"


def test_carried_values_lose_what_opens_their_urls_and_nothing_else() -> None:
    value = {
        "page": "https://host/watch?v=1&list=a&nocookie_x=1700000000",
        "source": ["https://user:word@host/a.mp4", {"https://host/?api_key=word": 1.5}],
        "note": "see https://host/b?token=word, and mail a@b.c",
        "dump": '{"url":"https://u:word@host","mail":"a@b.c"}',
    }
    value |= {
        "fragment": "https://host/a#access_token=word",
        "path": "https://host/hdnts=exp=1~hmac=planted12/a.mp4",
        "nested": "https://host/go?next=https%3A%2F%2Fu%3Aword%40h",
        "download": "https://host/a?download=pl4nted-w0rd-0f-s0me-length",
        "typo": "https:/u:word@host",
    }
    kept = carried(value)
    assert [kept[name] for name in ("fragment", "path", "nested", "download", "typo")] == [
        "https://host/a",
        "https://host/***/a.mp4",
        "https://host/go?***",
        "https://host/a?***",
        "https:/***@host",
    ]
    assert kept["source"] == ["https://***@host/a.mp4", {"https://host/?***": 1.5}]
    assert kept["note"] == "see https://host/b?***, and mail a@b.c"
    assert json.loads(kept["dump"]) == {"url": "https://***@host", "mail": "a@b.c"}
    plain = ["https://host/watch?v=1&t=1m30s&from=somewhere_else", "a://b", 5, None, "no url: user:word@host"]
    assert carried(plain) == plain


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("reference://x::http://host/a", "chains protocols"),
        ("simplecache::s3://bucket/a", "chains protocols"),
        ("s3://bucket/a.zip::zip://b", "chains protocols"),
        ("zip://a.mp4", 'has the protocol "zip", which is not opened'),
        ("webhdfs://host/a", "MOTIONECHO_PROTOCOLS=webhdfs in the environment"),
        ("GitHub://org:repo@main/a", 'has the protocol "github"'),
        ("local:///etc/passwd", 'has the protocol "local"'),
        ("https://***@host/a.mp4", "which is not stored: name it again in full"),
        ("https://host/a.mp4?id=1&***", "which is not stored: name it again in full"),
        ("file://host/a.mp4", "names a machine where a file:// URL has a path"),
        ("s3://KEY:word@bucket/a.mp4", "takes from the environment alone"),
    ],
)
def test_what_is_not_opened_is_one_sentence(place: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec, "get_filesystem_class", lambda name: pytest.fail(f"{name} was looked up"))
    for open_it in (check, open_url, Folder.at, files.version_of):
        with pytest.raises(UserError, match=said) as told_it:
            open_it(place)
        assert "word" not in str(told_it.value)


def test_more_protocols_are_the_environment_s_to_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTIONECHO_PROTOCOLS", "")
    with pytest.raises(UserError, match="MOTIONECHO_PROTOCOLS=memory"):
        open_url("memory://a")
    monkeypatch.setenv("MOTIONECHO_PROTOCOLS", "sftp, memory")
    assert open_url("memory://a")[1] == "/a"


NAMES = (
    "a::b.mp4",
    "zip::c.mp4",
    "a#b.mp4",
    "a?b.mp4",
    "a%20b.mp4",
    "a*.mp4",
    "[a].mp4",
    " a.mp4 ",
    "~a.mp4",
    "~",
    "a b.mp4",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_is_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").write_text("another")
    (tmp_path / name).write_text("the one")
    for path in (name, str(tmp_path / name)):
        with fetch(path) as local:
            assert Path(local).read_text() == "the one"
        assert files.version_of(path) == files.version_of(str(tmp_path / name))
    assert Place("m.csv").beside(name) == str(tmp_path / name)
    assert Place(name).name == name
    Folder.at(str(tmp_path)).overwrite(name, b"written")
    assert (tmp_path / name).read_text() == "written"


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_a_store_is_taken_as_it_is_written(name: str, s3: str) -> None:
    url = f"{s3}/keys/{name}"
    Folder.at(f"{s3}/keys").overwrite(name, b"the one")
    with fetch(url) as local:
        assert Path(local).read_text() == "the one"
    assert files.version_of(url)
    assert Place(f"{s3}/keys/m.csv").beside(name) == url


def test_a_file_url_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "my clips").mkdir()
    (tmp_path / "my clips" / "a b%20#.mp4").write_text("the one")
    for url in (
        f"file://{tmp_path}/my%20clips/a%20b%2520%23.mp4",
        f"FILE://LocalHost{tmp_path}/my clips/a b%2520#.mp4",
    ):
        with fetch(url) as local:
            assert Path(local).read_text() == "the one"
    with pytest.raises(NotThere, match="my%2520clips"):
        files.version_of(f"file://{tmp_path}/my%2520clips/a")
    Folder.at(f"file://{tmp_path}/a%20run").overwrite("run.json", b"{}")
    assert (tmp_path / "a run" / "run.json").exists()


def test_what_is_no_file_is_the_row_s(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    for name, said in {
        "": "is a folder", "pipe": "is not a file", "loop": "names no file", "a\0b": "names no file",
        "x" * 300: "names no file", "none": "does not exist", "file/below": "does not exist",
    }.items():  # fmt: skip
        with pytest.raises(BadSample, match=said), fetch(f"{tmp_path}/{name}"):
            pass
    with pytest.raises(BadSample, match="is not a file"), fetch("/dev/zero"):
        pass


def test_files_beside_and_within_are_opened_as_their_folder_is() -> None:
    table = Place("https://user:word@host/d/m.csv?Signature=f00")
    assert opened(table.beside("a b#.mp4")) == "https://user:word@host/d/a%20b%23.mp4"
    folder = Place("https://user:word@host/d/?sv=1&sig=f00")
    assert opened(folder.within("unet/a.bin")) == "https://user:word@host/d/unet/a.bin?sv=1&sig=f00"
    assert folder.within("unet/a.bin") == "https://***@host/d/unet/a.bin?***"
    assert table.name == "m.csv"


def test_what_is_written_or_listed_has_no_login() -> None:
    for place in ("https://user:word@host/run", "https://host/run?sig=f00"):
        for open_it in (Folder.at, Folder.holding):
            with pytest.raises(UserError, match="takes its credentials from the environment") as said:
                open_it(place)
            assert "word" not in str(said.value)


@pytest.mark.parametrize(
    "text",
    ["s3://" * 40, "http://a/" * 600, "see " + "http://a:x" * 1000, "https://h/?u=" + "https://h/?u=" * 300],
)
def test_urls_within_urls_without_end_take_no_time(text: str) -> None:
    for act in (bare, told, carried):
        assert len(act(text)) <= len(text) + 10
    assert Place(text).is_secret in (True, False)
