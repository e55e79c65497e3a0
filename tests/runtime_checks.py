"""The type checker put around every annotated function in tests: beartype, an int being good where a float is asked."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
