"""What PyYAML raises for a text that is no YAML."""

import yaml

# A tag that does not fit its text (`!!int ''`) trips PyYAML in any of the latter ways.
YAML_FAULTS = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
)
