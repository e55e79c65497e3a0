"""Taking finished runs from another study, interrupted at any point: the folder opens, and nothing measured is lost."""

from samrec_tests import small_studies


def test_a_study_is_opened_without_touching_what_other_programs_are_writing(tmp_path):
    study = small_studies.defined(tmp_path)
    others = [".study.h5.aside", ".other.h5.aside", ".imported.7.aside/run.json"]
    left = [".study.json.7.aside", ".measured.jsonl.7.aside", ".sasrec-seed-1.aside/run.json"]
    for name in (*others, *left):
        (study.path / name).parent.mkdir(exist_ok=True)
        (study.path / name).write_bytes(b"half")
    small_studies.defined(tmp_path)
    there = {path.relative_to(study.path).as_posix() for path in study.path.rglob("*") if path.is_file()}
    assert there == {"study.json", *others}
