"""The API call that draws a given picture, as source code to copy: curl, Python and JavaScript."""

import json
import shlex
from dataclasses import dataclass

from django.conf import settings

from images.catalog import DEFAULT_MODEL


@dataclass(frozen=True)
class ApiCall:
    """One call; its programs make exactly it, once ECOHASH_API_KEY is set."""

    prompt: str
    size: str
    seed: int | None = None
    model: str = DEFAULT_MODEL

    @property
    def curl(self) -> str:
        """A shell command that prints the answer, with a link to the picture in it."""
        body: dict[str, object] = {"model": self.model, "prompt": self.prompt}
        body |= {"size": self.size}
        if self.seed is not None:
            body |= {"seed": self.seed}
        body |= {"response_format": "url"}
        return "\n".join(
            [
                f"curl {settings.BASE_URL}/v1/images/generations \\",
                '  -H "Authorization: Bearer $ECOHASH_API_KEY" \\',
                '  -H "Content-Type: application/json" \\',
                f"  -d {shlex.quote(indented(body))}",
            ]
        )

    @property
    def python(self) -> str:
        """A script for `pip install openai`; it writes image.png."""
        seed = [] if self.seed is None else [f'    extra_body={{"seed": {self.seed}}},']
        return "\n".join(
            [
                "import base64",
                "import os",
                "",
                "from openai import OpenAI",
                "",
                "client = OpenAI(",
                f'    base_url="{settings.BASE_URL}/v1",',
                '    api_key=os.environ["ECOHASH_API_KEY"],',
                ")",
                "result = client.images.generate(",
                f"    model={literal(self.model)},",
                f"    prompt={literal(self.prompt)},",
                f"    size={literal(self.size)},",
                *seed,
                ")",
                'with open("image.png", "wb") as file:',
                "    file.write(base64.b64decode(result.data[0].b64_json))",
            ]
        )

    @property
    def javascript(self) -> str:
        """A module for `npm install openai`; it writes image.png."""
        seed = [] if self.seed is None else [f"  seed: {self.seed},"]
        return "\n".join(
            [
                'import { writeFile } from "node:fs/promises";',
                'import OpenAI from "openai";',
                "",
                "const client = new OpenAI({",
                f'  baseURL: "{settings.BASE_URL}/v1",',
                "  apiKey: process.env.ECOHASH_API_KEY,",
                "});",
                "const result = await client.images.generate({",
                f"  model: {literal(self.model)},",
                f"  prompt: {literal(self.prompt)},",
                f"  size: {literal(self.size)},",
                *seed,
                "});",
                'await writeFile("image.png", Buffer.from(result.data[0].b64_json, "base64"));',
            ]
        )

    @property
    def answer(self) -> str:
        """What comes back, shortened."""
        return "\n".join(
            [
                "{",
                '  "created": 1776391234,',
                '  "data": [{"b64_json": "iVBORw0KGgo…", "revised_prompt": null}],',
                f'  "size": {literal(self.size)},',
                f'  "seed": {0 if self.seed is None else self.seed},',
                '  "output_format": "png", "quality": "auto", "background": "opaque",',
                '  "usage": {"input_tokens": 9, "output_tokens": 4096, "total_tokens": 4105, …}',
                "}",
            ]
        )

    @property
    def lost_answer(self) -> str:
        """A shell command that asks for a generation once more."""
        return "\n".join(
            [
                f"curl {settings.BASE_URL}/v1/images/generations/gen_… \\",
                '  -H "Authorization: Bearer $ECOHASH_API_KEY"',
            ]
        )

    @property
    def retry_python(self) -> str:
        """A script for `pip install requests` that repeats a call under one Idempotency-Key."""
        return "\n".join(
            [
                "import os",
                "import time",
                "import uuid",
                "",
                "import requests",
                "",
                "headers = {",
                '    "Authorization": f"Bearer {os.environ[\'ECOHASH_API_KEY\']}",',
                '    "Idempotency-Key": str(uuid.uuid4()),  # one for each image',
                "}",
                "body = {",
                f'    "model": {literal(self.model)},',
                f'    "prompt": {literal(self.prompt)},',
                f'    "size": {literal(self.size)},',
                "}",
                "for pause in (1, 2, 4, None):",
                "    try:",
                "        response = requests.post(",
                f'            "{settings.BASE_URL}/v1/images/generations",',
                "            headers=headers,",
                "            json=body,",
                "            timeout=100,",
                "        )",
                "        break",
                "    except requests.RequestException:  # the connection broke",
                "        if pause is None:",
                "            raise",
                "        time.sleep(pause)",
                "response.raise_for_status()",
                'print(response.headers["x-ecohash-generation-id"])',
            ]
        )

    @property
    def retry_ai_sdk(self) -> str:
        """A call of `npm install ai` whose retries send the same Idempotency-Key."""
        return "\n".join(
            [
                "// One for each image; when the call throws, repeat it with the same.",
                'const headers = { "Idempotency-Key": crypto.randomUUID() };',
                "const { image } = await generateImage({",
                f"  model: provider.imageModel({literal(self.model)}),",
                f"  prompt: {literal(self.prompt)},",
                f"  size: {literal(self.size)},",
                "  headers,",
                "});",
            ]
        )


def indented(body: dict[str, object]) -> str:
    """The body as JSON that reads well inside a command."""
    return json.dumps(body, ensure_ascii=False, indent=4).removesuffix("}") + "  }"


def literal(text: str) -> str:
    """The text as a string literal; JSON's are valid, with the same meaning, in both languages."""
    return json.dumps(text, ensure_ascii=False)
