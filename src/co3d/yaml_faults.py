"""The errors that PyYAML raises for malformed YAML."""

import yaml

# A tag that does not fit its text (`!!int ''`) makes PyYAML raise any of the latter.
YAML_FAULTS = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
)
