"""Wire types: msgspec Structs, one module per resource, no behaviour beyond (de)serialisation."""
