"""Files and folders that appear whole or not at all."""

import pytest

from tfau.core.files import whole_file, whole_folder


def make(path, kind, text):
    """Fills a name as the two kinds want it."""
    if kind is whole_folder:
        path.mkdir()
        path /= "inside"
    path.write_text(text)


def text(path):
    return (path / "inside" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
def test_it_appears_at_the_end_and_replaces_what_was_there(tmp_path, kind):
    path = tmp_path / "thing"
    for word in ("old", "new"):
        with kind(path) as unfinished:
            make(unfinished, kind, word)
            assert not path.exists() or text(path) == "old"
        assert text(path) == word
        assert [file.name for file in tmp_path.iterdir()] == ["thing"]


def interrupted(path, kind):
    with kind(path) as unfinished:
        make(unfinished, kind, "new")
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
@pytest.mark.parametrize("before", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, kind, before):
    path = tmp_path / "thing"
    if before:
        make(path, kind, "old")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path, kind)
    assert [file.name for file in tmp_path.iterdir()] == (["thing"] if before else [])
    assert not before or text(path) == "old"


@pytest.mark.parametrize("kind", [whole_file, whole_folder])
def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path, kind):
    path = tmp_path / "thing"
    make(tmp_path / ".thing", kind, "half")
    with kind(path) as unfinished:
        if kind is whole_folder:
            assert not unfinished.exists()
        make(unfinished, kind, "new")
    assert text(path) == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["thing"]
