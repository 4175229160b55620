"""One image with LiteLLM, in its own environment: prints whether it came, after so many tries of the program itself."""

import base64
import json
import os
import sys

import litellm  # type: ignore[import-not-found]

key = os.environ["IDEMPOTENCY_KEY"]
asked = {
    "model": "openai/flux-1-schnell",
    "prompt": "a red fox",
    "size": "512x512",
    "api_base": os.environ["BASE_URL"],
    "api_key": os.environ["API_KEY"],
    "extra_headers": {"Idempotency-Key": key} if key else None,
}
generate = litellm.image_generation
if os.environ.get("ROUTER"):
    parameters = {name: asked[name] for name in ("model", "api_base", "api_key")}
    router = litellm.Router([{"model_name": "flux", "litellm_params": parameters}], num_retries=2)
    generate = router.image_generation
    asked = {"model": "flux"} | {name: asked[name] for name in ("prompt", "size", "extra_headers")}
image = False
for _ in range(int(os.environ["TRIES"])):
    try:
        answer = generate(**asked)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what the test is told
        sys.stderr.write(f"{type(error).__name__} {error}\n")
    else:
        image = base64.b64decode(answer.data[0].b64_json)[1:4] == b"PNG"
        break
sys.stdout.write(json.dumps({"image": image}))
