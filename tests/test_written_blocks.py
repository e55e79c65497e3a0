"""Marked code of a document runs in order in one folder, and a mark that marks nothing is an error."""

import pytest
from written_blocks import run_story, stories

TEXT = """
<!-- file: tale: numbers_of.py -->
```python
def three():
    return 3
```

```python
raise SystemExit  # not marked
```

<!-- runs: tale -->
```python
from numbers_of import three
x = three()
```

<!-- runs: other -->
```python
1 / 0
```

<!-- runs: tale -->
```bash
landscape --help
landscape inspect none.h5
```
"""


@pytest.fixture
def document(tmp_path):
    path = tmp_path / "page.md"
    path.write_text(TEXT.replace("landscape inspect none.h5\n", ""))
    return path


def test_blocks_of_a_story_share_a_folder_and_their_names(document, tmp_path):
    assert run_story(document, "tale", tmp_path)["x"] == 3
    assert list(stories(document)) == ["tale", "other"]


def test_an_error_points_into_the_document(document, tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        run_story(document, "other", tmp_path)
    last = caught.traceback[-1]
    assert (last.path, document.read_text().splitlines()[last.lineno]) == (document, "1 / 0")


def test_a_command_that_fails_is_an_error(document, tmp_path):
    document.write_text(TEXT)
    with pytest.raises(AssertionError, match=r"page\.md, line 24: 'landscape inspect none\.h5' left with 1"):
        run_story(document, "tale", tmp_path)


def test_a_mark_without_a_block_is_an_error(document):
    document.write_text(TEXT + "\n<!-- runs: tale -->\n\n```python\n1\n```\n")
    with pytest.raises(ValueError, match="5 marks, 4 blocks"):
        stories(document)
