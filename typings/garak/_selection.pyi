from garak._spec import Spec

class Resolution:
    probes: list[str]
    rejected: list[str]
    inactive: list[str]

def resolve_spec(spec: Spec, skip_unknown: bool = ...) -> Resolution: ...
