"""What adapters use of the package's loading of data sets in folders."""

from dataclasses import dataclass

@dataclass
class DatasetModule:
    hash: str

class LocalDatasetModuleFactory:
    path: str
    def get_module(self) -> DatasetModule: ...
