"""Wire types: one module per resource, msgspec Structs, no behaviour beyond (de)serialisation."""
