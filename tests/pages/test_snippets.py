"""Source code to copy: it must be a program that makes exactly that call, whatever the prompt."""

import ast
import json
import shlex
import shutil
import subprocess

import pytest

from images.pages.snippets import ApiCall

PROMPTS = [
    "a red fox",
    'it\'s "quoted" $HOME `date` \\ back',
    "two\nlines\tand ünï © 狐 🦊",
    "'''${x}#{y}",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_curl_sends_the_prompt_exactly(prompt: str) -> None:
    words = shlex.split(ApiCall(prompt=prompt, size="512x512", seed=7).curl)
    assert json.loads(words[words.index("-d") + 1]) == {
        "model": "flux-1-schnell",
        "prompt": prompt,
        "size": "512x512",
        "seed": 7,
        "response_format": "url",
    }


@pytest.mark.parametrize("prompt", PROMPTS)
def test_python_sends_the_prompt_exactly(prompt: str) -> None:
    tree = ast.parse(ApiCall(prompt=prompt, size="512x512", seed=7).python)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    values = {word.arg: word.value for call in calls for word in call.keywords}
    assert ast.literal_eval(values["prompt"]) == prompt
    assert ast.literal_eval(values["extra_body"]) == {"seed": 7}


@pytest.mark.parametrize("prompt", PROMPTS)
def test_javascript_sends_the_prompt_exactly(prompt: str) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    source = ApiCall(prompt=prompt, size="512x512", seed=7).javascript
    body = source.partition("images.generate(")[2].partition(");\nawait")[0]
    script = f"process.stdout.write(JSON.stringify({body}))"
    told = subprocess.run([node, "-e", script], capture_output=True, check=True).stdout
    assert json.loads(told)["prompt"] == prompt


def test_no_seed_is_no_seed() -> None:
    call = ApiCall(prompt="a red fox", size="512x512")
    assert "seed" not in call.curl + call.python + call.javascript
