from lm_eval.api.instance import Instance

class FilterEnsemble:
    name: str
    def apply(self, instances: list[Instance]) -> None: ...
