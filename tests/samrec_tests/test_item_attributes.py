"""What items are, from every kind of metadata."""

import gzip
import json

import pytest

from samrec.data.item_attributes import read_item_attributes
from samrec.errors import DataError

ITEMS = ["b1", "b2", "b3"]
FORMS = {
    "amazon 2014": [
        "{'asin': 'b1', 'title': \"it's\", 'categories': [['Beauty', 'Hair Care', 'Oils'], ['Beauty', 'Skin']], "
        "'brand': 'A'}",
        "{'asin': 'zz', 'categories': [['Beauty', 'Nails']]}",
        "{'asin': 'b3', 'categories': [['Beauty', 'Skin']], 'brand': ''}",
    ],
    "amazon 2018": [
        json.dumps({"category": ["Beauty", "Hair Care", "Oils", "Skin"], "brand": "A", "asin": "b1", "price": ""}),
        json.dumps({"category": [], "brand": "B", "asin": "zz"}),
        json.dumps({"category": ["Beauty", "Skin"], "brand": "", "asin": "b3"}),
    ],
}
EXPECTED = {
    "b1": ["category: Hair Care", "category: Oils", "category: Skin", "brand: A"],
    "b2": [],
    "b3": ["category: Skin"],
}


def written(folder, lines, name="meta.json"):
    path = folder / name
    text = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def told(path, items=ITEMS, **options):
    found = read_item_attributes(path, items, **options)
    known = found.attributes
    return {own: [found.names[a - 1] for a in known.of(place)] for place, own in enumerate(items, start=1)}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("name", ["meta.json", "meta.json.gz"])
def test_amazon_categories_below_the_root_and_brands(tmp_path, form, name):
    assert told(written(tmp_path, FORMS[form], name)) == EXPECTED


def test_yelp_categories_in_both_of_its_forms(tmp_path):
    lines = [
        json.dumps({"business_id": "b1", "name": "x", "categories": "Bars, Nightlife"}),
        json.dumps({"business_id": "b2", "categories": None}),
        json.dumps({"business_id": "b3", "categories": ["Nightlife"]}),
    ]
    assert told(written(tmp_path, lines)) == {
        "b1": ["category: Bars", "category: Nightlife"],
        "b2": [],
        "b3": ["category: Nightlife"],
    }


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("movies.dat", ["1::Heat (1995)::Action|Crime", "2::A::(no genres listed)", "3::B: C::Crime"]),
        (
            "movies.csv",
            ["movieId,title,genres", '1,"Heat, (1995)",Action|Crime', "2,A,(no genres listed)", "3,B,Crime"],
        ),
    ],
)
def test_movielens_genres(tmp_path, name, lines):
    expected = {"1": ["genre: Action", "genre: Crime"], "2": [], "3": ["genre: Crime"]}
    assert told(written(tmp_path, lines, name), ["1", "2", "3"]) == expected


def test_attributes_of_few_items_are_left_out_and_counted(tmp_path):
    path = written(tmp_path, FORMS["amazon 2014"])
    assert told(path, min_count=2) == {"b1": ["category: Skin"], "b2": [], "b3": ["category: Skin"]}
    found = read_item_attributes(path, ITEMS, min_count=2)
    assert (found.described, found.rare, found.names) == (2, 3, ["category: Skin"])


def test_a_literal_is_read_and_never_run(tmp_path):
    trap = tmp_path / "ran"
    lines = [
        f"{{'asin': 'b1', 'brand': open({str(trap)!r}, 'w')}}",
        "{'asin': 'b2', 'brand': " + "(" * 5000 + ")" * 5000 + "}",
        "not metadata",
        *FORMS["amazon 2014"],
    ]
    found = read_item_attributes(written(tmp_path, lines), ITEMS)
    assert not trap.exists()
    assert (found.malformed, found.described) == (3, 2)
    assert found.example.startswith("line 1: ")


def test_metadata_of_other_items_are_refused(tmp_path):
    with pytest.raises(DataError, match="no attribute that 1 or more of the 1 items have"):
        read_item_attributes(written(tmp_path, FORMS["amazon 2018"]), ["other"])


def test_metadata_that_were_cut_are_refused(tmp_path):
    path = written(tmp_path, FORMS["amazon 2018"] * 200, "meta.json.gz")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="ends in the middle"):
        read_item_attributes(path, ITEMS)
