"""The CronJob: its command, its schedule, and its policy for exit codes."""

from __future__ import annotations

from typing import Any, Final

import pytest
import yaml

from engagement.conf import SEND_TIMEOUT, WHOLE_NUMBERS
from tests.project.deploy.sample_files import CRON_SCHEDULE, DEPLOY, NOT_RETRIED
from tests.project.docs.command_lines import parse
from tests.project.docs.markdown import REFERENCE, named_in, section
from tests.running import PROJECT

TEXT: Final = (DEPLOY / "cronjob.yaml").read_text()


@pytest.fixture
def spec() -> Any:
    return yaml.safe_load(TEXT)["spec"]


@pytest.fixture
def job(spec: Any) -> Any:
    return spec["jobTemplate"]["spec"]


@pytest.fixture
def container(job: Any) -> Any:
    (container,) = job["template"]["spec"]["containers"]
    return container


def test_run_starts_when_the_schedule_says(spec: Any) -> None:
    assert (spec["schedule"], spec["timeZone"]) == (CRON_SCHEDULE, "Etc/UTC")


def test_command_can_be_parsed_and_runs_without_a_shell(container: Any) -> None:
    program, script, *arguments = container["command"] + container["args"]
    assert (program, script) == ("python", "manage.py")
    assert parse(" ".join(arguments))["json"]


def test_runs_may_overlap_and_end_on_a_day(spec: Any, job: Any) -> None:
    assert spec["concurrencyPolicy"] == "Allow"
    assert job["activeDeadlineSeconds"] + spec["startingDeadlineSeconds"] < 24 * 60 * 60


def test_exit_codes_that_a_retry_cannot_change_fail_the_job(job: Any, container: Any) -> None:
    fail, ignore = job["podFailurePolicy"]["rules"]
    assert fail["action"] == "FailJob"
    assert fail["onExitCodes"]["operator"] == "In"
    assert fail["onExitCodes"]["containerName"] == container["name"]
    assert set(fail["onExitCodes"]["values"]) == NOT_RETRIED
    # Ignored exit codes would restart the pod for ever.
    assert (ignore["action"], "onExitCodes" in ignore) == ("Ignore", False)
    # The policy requires it.
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_settings_come_from_the_secret_that_the_comment_creates(container: Any) -> None:
    (source,) = container["envFrom"]
    assert f"create secret generic {source['secretRef']['name']} " in TEXT
    known = named_in(section(REFERENCE, "Settings"), first_column="variable")
    assert {variable["name"] for variable in container["env"]} - known == {"PYTHONDONTWRITEBYTECODE"}


def test_every_value_of_the_environment_is_text(container: Any) -> None:
    assert all(isinstance(variable["value"], str) for variable in container["env"])


def test_pod_runs_as_the_user_of_the_image(job: Any) -> None:
    # The kubelet refuses runAsNonRoot for a user that it knows by name alone.
    context = job["template"]["spec"]["securityContext"]
    assert context["runAsNonRoot"]
    assert f"\nUSER {context['runAsUser']}\n" in (PROJECT / "Dockerfile").read_text()


def test_sender_can_be_parsed_and_is_as_confined_as_the_run(job: Any, container: Any) -> None:
    pod = yaml.safe_load((DEPLOY / "sender.yaml").read_text())["spec"]["template"]["spec"]
    (sender,) = pod["containers"]
    program, script, *arguments = sender["command"] + sender["args"]
    assert (program, script) == ("python", "manage.py")
    assert parse(" ".join(arguments))["watch"]
    assert pod["terminationGracePeriodSeconds"] > 2 * WHOLE_NUMBERS[SEND_TIMEOUT].default
    assert pod["securityContext"] == job["template"]["spec"]["securityContext"]
    for key in ("image", "workingDir", "env", "securityContext"):
        assert sender[key] == container[key]
    *shared, own = sender["envFrom"]
    assert shared == container["envFrom"]
    assert own["secretRef"] == {"name": "engagement-sender", "optional": True}
