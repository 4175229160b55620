"""CAMEL: its toolkit for images, which knows the models and sizes of OpenAI and saves a file."""

import json
import os
import tempfile
from pathlib import Path

from camel.toolkits.image_generation_toolkit import ImageGenToolkit

with tempfile.TemporaryDirectory() as folder:
    toolkit = ImageGenToolkit(
        url=os.environ["BASE_URL"],
        api_key=os.environ["API_KEY"],
        size="1792x1024",
        working_directory=folder,
    )
    said = toolkit.generate_image("a red fox", image_name="fox.png")
    files = [path.read_bytes() for path in Path(folder).iterdir()]
    print(json.dumps({"png": files[0][:8].hex() if files else None, "said": said}))
