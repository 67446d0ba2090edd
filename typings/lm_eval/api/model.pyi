from abc import ABC

class LM(ABC):
    def __init__(self) -> None: ...
