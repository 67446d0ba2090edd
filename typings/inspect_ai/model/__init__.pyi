class GenerateConfig:
    model_fields: dict[str, object]
