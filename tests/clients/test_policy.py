"""The rules of the policy, beside those of the installed Glance."""

import json
import re
import subprocess

from conftest import setting

LIST = "import json; from glance import policies; print(json.dumps({rule.name: rule.check_str for rule in policies.list_rules()}))"


def test_rules_and_defaults_are_glances():
    python = setting("VITRINE_TEST_GLANCE") / "bin/python"
    theirs = json.loads(subprocess.run([python, "-c", LIST], check=True, capture_output=True, text=True).stdout)
    said = subprocess.run([setting("VITRINE_BINARY"), "policy", "list"], check=True, capture_output=True, text=True).stdout
    lines = [re.fullmatch(r'("(?:[^"\\]|\\.)*"): ("(?:[^"\\]|\\.)*")  # default', line) for line in said.splitlines()]
    assert all(lines), said
    ours = {json.loads(line[1]): json.loads(line[2]) for line in lines}
    plain = {name: " ".join(rule.split()) for name, rule in theirs.items()}
    assert ours == plain
    assert len(ours) > 60
