"""The public data sets that `samrec data fetch` gets: where they are, how long each file is, and its SHA-256.

They are the files that the S3-Rec authors published with their code, derived from the Amazon Reviews 2014 and Yelp
releases, which are for research use.
"""

from typing import NamedTuple

BASE_URL = "https://raw.githubusercontent.com/aHuiWang/CIKM2020-S3Rec/master/data"


class PublicFile(NamedTuple):
    """One file of a data set."""

    name: str
    size: int  # bytes
    sha256: str


PUBLIC = {
    "Beauty": (
        PublicFile(
            "Beauty_item2attributes.json", 305674, "129e40f67486f6877eff0f5318cfa8530ee8ac23d8b0d1de04e1bb7a2ba0b2d4"
        ),
        PublicFile("Beauty.txt", 1090094, "226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8"),
    ),
    "Sports_and_Outdoors": (
        PublicFile(
            "Sports_and_Outdoors_item2attributes.json",
            653780,
            "7fb10733ac4f1811384a52144cdefa7fcc7536fa80a7232c5da9bd789155c34b",
        ),
        PublicFile(
            "Sports_and_Outdoors.txt", 1707483, "2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2"
        ),
    ),
    "Toys_and_Games": (
        PublicFile(
            "Toys_and_Games_item2attributes.json",
            327536,
            "d371acd25101eedac04afc727626464b7acec770c4eda708705d51eb76eb1ad0",
        ),
        PublicFile("Toys_and_Games.txt", 922166, "176c680c688d497598c4a89a03b402c0fe78d795e5db335c2e78dd5f2d778a3f"),
    ),
    "Yelp": (
        PublicFile(
            "Yelp_item2attributes.json", 600360, "f25acd5e1e680e0b22fd4e3f4fb6be4b2a7461e9222610616e3e1ee6702dd58d"
        ),
        PublicFile("Yelp.txt", 1814224, "724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed"),
    ),
}
