"""`beam-sdg sandbox`: its commands and their errors."""

import json

import pytest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "takes build, doctor, attack or clean"),
        (["destroy"], "takes build, doctor, attack or clean"),
        (["doctor", "--memory_mb", "1"], "memory_mb"),
        (["doctor", "--nothing"], "beam-sdg sandbox doctor --help lists the flags"),
    ],
)
def test_wrong_usage_is_one_line(beam_sdg_command, arguments, said):
    """Exit code 2 and the mend."""
    done = beam_sdg_command("sandbox", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_the_doctor_names_an_engine_that_is_not_there(beam_sdg_command):
    """In plain words, and with the mend; nothing else can be looked at then."""
    done = beam_sdg_command("sandbox", "doctor", "--engine", "unix:///nowhere/docker.sock")
    assert done.returncode == 4
    [line] = done.stdout.splitlines()
    assert line.startswith("missing  engine") and "start dockerd" in line
    assert "mend what is missing above" in done.stderr


def test_the_doctor_goes_through_all_where_there_is_an_engine(docker, beam_sdg_command):
    """Engine, limits, image, a session that was opened, and how many there may be."""
    done = beam_sdg_command("sandbox", "doctor", "--sessions_per_container", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    about = [line.split()[1] for line in done.stdout.splitlines()]
    expected = ["engine", "storage", "limits", "seccomp", "users", "runtime", "image", "session"]
    assert about == [*expected, "landlock", "room"]


def test_the_doctor_names_a_runtime_and_an_image_that_are_not_there(docker, beam_sdg_command):
    """Each with its mend."""
    done = beam_sdg_command("sandbox", "doctor", "--runtime", "crun9", "--image", "not-there")
    assert done.returncode == 4
    missing = [line for line in done.stdout.splitlines() if line.startswith("missing")]
    assert "daemon.json" in missing[0] and "sandbox build" in missing[1]


def test_an_attack_that_gets_through_is_told(docker, beam_sdg_command, tmp_path):
    """With what did not hold; the exit code is that of a failed run."""
    cases = [
        {"name": "harmless", "group": "inputs", "cells": ["1"], "expect": ["ok"]},
        {"name": "not-so", "group": "inputs", "cells": ["1"], "expect": ["died!"]},
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps(case) + "\n" for case in cases))
    done = beam_sdg_command("sandbox", "attack", "--cases", path)
    assert done.returncode == 4
    assert "held     inputs       harmless" in done.stdout
    assert "should be died!, and was ok" in done.stdout
    assert "1 of 2 attacks held off" in done.stdout


def test_a_local_attack_warns(beam_sdg_command, tmp_path):
    """Nothing is isolated there."""
    path = tmp_path / "cases.jsonl"
    path.write_text('{"name": "a", "group": "inputs", "cells": ["1"]}\n')
    done = beam_sdg_command("sandbox", "attack", "--local", "--cases", path)
    assert done.returncode == 0, done.stderr
    assert "isolates nothing" in done.stdout


def test_clean_says_what_it_removed(docker, beam_sdg_command):
    """Containers of living runs stay."""
    done = beam_sdg_command("sandbox", "clean")
    assert done.returncode == 0
    assert done.stdout.endswith("removed\n")


def test_a_base_that_cannot_be_pulled_is_told_with_the_other_way(docker, beam_sdg_command):
    """Where there is no registry, Debian's packages are."""
    done = beam_sdg_command(
        "sandbox", "build", "--image", "beam-sdg-test", "--base", "localhost:9/nothing"
    )
    assert done.returncode == 4
    assert "the image could not be built" in done.stderr and "--base debian" in done.stderr


def test_any_image_with_python_can_be_the_base(docker, beam_sdg_command):
    """The Dockerfile adds what is missing, and the supervisor."""
    done = beam_sdg_command(
        "sandbox", "build", "--image", "beam-sdg-test", "--base", "beam-sdg-sandbox"
    )
    assert done.returncode == 0, done.stderr
    try:
        done = beam_sdg_command("sandbox", "doctor", "--image", "beam-sdg-test")
        assert done.returncode == 0, done.stdout
    finally:
        docker.api.remove_image("beam-sdg-test", force=True)
