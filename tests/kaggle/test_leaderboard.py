"""Submissions are made once, whatever happens to the answer, and their scores are awaited patiently."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from kaggle_box import Fault, KaggleBox, Patience, fast_patience

from imettk.cli.main import main
from imettk.errors import PlatformError, UserError
from imettk.kaggle import client, leaderboard, waiting
from imettk.kaggle.client import Kaggle, NotThere, Unclear
from imettk.kaggle.leaderboard import list_scores, submit_file, submit_kernel, wait_score

HOUR = 3600.0
UNREADABLE = [Fault(200, body=b"<html>maintenance</html>", after=True), Fault(200, body=b"", after=True),
              Fault(200, body=b'{"ref": "?"}', after=True), Fault(200, body=b"{}", after=True)]  # fmt: skip
ACCEPTED = [Fault(500, after=True), Fault(0, after=True), Fault(200, cut=True, after=True), *UNREADABLE]
NOTHING = Fault(200, body=b"{}")  # a list without submissions


@pytest.fixture
def submitting(make_box, tmp_path, monkeypatch) -> tuple[KaggleBox, Kaggle, Path]:
    box = make_box()
    box.add_competition("cells", tmp_path, lambda path: (len(path.read_bytes()) / 100, 0.5))
    path = tmp_path / "submission.csv"
    path.write_text("id,label\n1,2\n")
    monkeypatch.setattr(client, "Patience", fast_patience)
    monkeypatch.chdir(tmp_path)
    return box, Kaggle(fast_patience()), path


def count(box: KaggleBox, method: str) -> int:
    return sum(name == method for name, _ in box.requests)


def from_elsewhere(box: KaggleBox, description: str) -> None:
    box._submit("cells", b"another", description)


def command(*words: object, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["kaggle", "submit", *map(str, words)])
    assert ending.value.code == code


@pytest.mark.parametrize("fault", [None, *ACCEPTED])
def test_a_submission_is_made_once_and_its_score_comes_back(submitting, fault):
    box, account, path = submitting
    from_elsewhere(box, "an older one")
    if fault is not None:
        box.faults.add("CreateSubmission", fault)
    number = submit_file(account, "cells", path, "from a test")
    score = wait_score(account, "cells", number, limit_seconds=HOUR)
    assert (number, score.status, score.public, score.private) == (2, "COMPLETE", 0.13, 0.5)
    assert len(box.submissions) == 2 and score.made_at is not None
    assert re.fullmatch(r"from a test #[0-9a-f]{8}", score.description)


def test_a_submission_that_had_no_effect_is_made_again(submitting):
    box, account, path = submitting
    box.faults.add("CreateSubmission", Fault(429, headers={"Retry-After": "0"}), times=3)
    assert submit_file(account, "cells", path, "x") == 1 and len(box.submissions) == 1


@pytest.mark.parametrize("fault", ACCEPTED)
def test_a_list_that_is_out_of_date_for_a_while_does_not_lead_to_a_second_submission(submitting, fault):
    box, account, path = submitting
    box.faults.add("CreateSubmission", fault)
    # The first list is read before the submission; later ones may fail as well.
    box.faults.add("ListSubmissions", NOTHING, times=3)
    box.faults.add("ListSubmissions", Fault(403))
    assert submit_file(account, "cells", path, "x") == 1
    assert len(box.submissions) == 1 and count(box, "CreateSubmission") == 1


@pytest.mark.parametrize("fault", [Fault(503), Fault(0), Fault(500, after=True)])
def test_an_unclear_submission_is_not_made_again(submitting, capsys, fault):
    box, _, path = submitting
    box.faults.add("CreateSubmission", fault)
    box.faults.add("ListSubmissions", NOTHING, times=1 + leaderboard.LOOKS)
    command("cells", path, code=1)
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "it may have been accepted, and is not made again" in error
    assert count(box, "CreateSubmission") == 1
    hint = re.search(r"`imettk kaggle submit (.*?)`", error)
    assert hint is not None
    command(*hint[1].split())
    text = capsys.readouterr().out
    assert ("'imettk #" in text and "PENDING" in text) if fault.after else text.startswith("no submission to cells")


@pytest.mark.parametrize("is_hidden", [False, True], ids=["descriptions", "no descriptions"])
def test_a_submission_from_elsewhere_is_not_taken_for_ours(submitting, monkeypatch, is_hidden):
    """Two chains of one user submit with the same message in the same second."""
    box, account, path = submitting
    from_elsewhere(box, "imettk #00000000")
    create = box._create_submission

    def create_beside(request):
        answer = create(request)
        from_elsewhere(box, "imettk #11111111")
        if is_hidden:
            for submission in box.submissions:
                submission["description"] = ""
        return answer

    monkeypatch.setattr(box, "_create_submission", create_beside)
    box.faults.add("CreateSubmission", Fault(500, after=True))
    if is_hidden:
        with pytest.raises(PlatformError, match="it may have been accepted, and is not made again"):
            submit_file(account, "cells", path, "imettk")
    else:
        assert submit_file(account, "cells", path, "imettk") == 2
    assert len(box.submissions) == 3


@pytest.mark.parametrize("is_hidden", [False, True], ids=["descriptions", "no descriptions"])
def test_a_lost_answer_is_looked_up_without_a_list_from_before(submitting, is_hidden, monkeypatch):
    box, account, path = submitting
    from_elsewhere(box, "an older one")
    box.submissions[0]["date"] = "2020-01-01T00:00:00Z"
    if is_hidden:
        monkeypatch.setattr(box, "_submit", lambda *words, submit=box._submit: submit(*words[:2], ""))
        box.submissions[0]["description"] = ""
    box.faults.add("ListSubmissions", Fault(503), times=account.patience.tries)
    box.faults.add("CreateSubmission", Fault(500, after=True))
    assert submit_file(account, "cells", path, "x") == 2 and len(box.submissions) == 2


def test_a_lasting_401_makes_no_submission(submitting, monkeypatch):
    class SignedOut(Unclear, UserError):
        pass

    box, account, path = submitting
    ask = account.ask
    for method in ("create_submission", "list_submissions"):

        def refuse(service, asked, request, method=method, **options):
            if asked == method:
                raise SignedOut("make a new token (401)")
            return ask(service, asked, request, **options)

        monkeypatch.setattr(account, "ask", refuse)
        with pytest.raises(SignedOut, match=r"^make a new token \(401\)$"):
            submit_file(account, "cells", path, "x")
    assert count(box, "CreateSubmission") == 0


def test_refused_credentials_make_no_submission(submitting):
    box, account, path = submitting
    box.key = "another"
    with pytest.raises(UserError):
        submit_file(account, "cells", path, "x")
    assert count(box, "CreateSubmission") == 0


@pytest.mark.parametrize("code", [403, 404])
@pytest.mark.parametrize("method", ["StartSubmissionUpload", "ListSubmissions", "CreateSubmission"])
def test_a_wrong_competition_is_reported_with_the_rules(submitting, method, code):
    box, account, path = submitting
    box.faults.add(method, Fault(code), times=3)
    with pytest.raises(
        NotThere, match=r"is cells the right slug\? You may have to accept the rules .* kaggle\.com/c/cells/rules"
    ):
        submit_file(account, "cells", path, "x")
    assert not box.submissions


def test_kaggles_message_is_shown(submitting):
    """For instance that the day's submissions are used up."""
    box, account, path = submitting
    used_up = json.dumps({"code": 400, "message": "Your team has used its daily Submission allowance (5)"}).encode()
    box.faults.add("CreateSubmission", Fault(400, body=used_up))
    with pytest.raises(PlatformError, match=r"daily Submission allowance \(5\)"):
        submit_file(account, "cells", path, "x")
    assert count(box, "CreateSubmission") == 1


def test_waiting_for_a_score_survives_passing_refusals(submitting, capsys):
    box, account, path = submitting
    box.score_polls = 60
    number = submit_file(account, "cells", path, "x")
    odd = [b'{"submissions": [{"ref": 1, "status": "SCORING"}]}', b'{"submissions": [{"ref": "?"}]}', b"<html>"]
    odd += [b'{"submissions": [7]}', b'{"submissions": [{"ref": 1, "date": 7}]}']
    for fault in [*map(Fault, (400, 401, 403, 404)), *(Fault(200, body=body) for body in odd)]:
        box.faults.add("ListSubmissions", fault)
    assert wait_score(account, "cells", number, limit_seconds=HOUR).public == 0.13
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("submission 1 to cells: PENDING")]
    assert lines[0] == "submission 1 to cells: PENDING" and len(lines) == 5  # 15 minutes with a line every 3
    assert lines[-1] == "submission 1 to cells: PENDING for 12 min"


def test_a_lasting_refusal_and_a_missing_score_end_with_a_hint(submitting, capsys):
    box, account, path = submitting
    box.score_polls = 10_000
    submit_file(account, "cells", path, "x")
    with pytest.raises(PlatformError, match=r"no score yet; .*`imettk kaggle submit --score 1 cells` waits for it"):
        wait_score(account, "cells", 1, limit_seconds=60)
    box.faults.add("ListSubmissions", Fault(400), times=waiting.REFUSALS)
    with pytest.raises(PlatformError, match=r"answers 400; .*`imettk kaggle submit --score 1 cells`"):
        wait_score(account, "cells", 1, limit_seconds=HOUR)
    box.score_polls = box.submissions[0]["polls"] = 0
    command("--score", 1, "cells")
    assert "public 0.13000, private 0.50000" in capsys.readouterr().out


@pytest.mark.parametrize("is_new", [False, True])
def test_a_number_that_is_not_listed_is_reported_after_a_few_looks(submitting, is_new):
    box, account, path = submitting
    submit_file(account, "cells", path, "x")
    looks = count(box, "ListSubmissions")
    says = "is not listed yet; " if is_new else r"is not listed \(listed: 1\); `imettk kaggle submit --list cells`"
    with pytest.raises(PlatformError, match=f"submission 99 to cells {says}"):
        wait_score(account, "cells", 99, limit_seconds=10 * HOUR, new=is_new)
    expected = leaderboard.NEW_LOOKS if is_new else leaderboard.LISTED_LOOKS
    assert count(box, "ListSubmissions") - looks == expected


def test_a_submission_that_is_listed_late_is_awaited(submitting):
    box, account, path = submitting
    number = submit_file(account, "cells", path, "x")
    box.faults.add("ListSubmissions", NOTHING, times=10)
    assert wait_score(account, "cells", number, limit_seconds=HOUR, new=True).status == "COMPLETE"


@pytest.mark.parametrize("moment", ["the answer", "the score"])
def test_ctrl_c_prints_what_remains_and_which_command_continues(submitting, monkeypatch, capsys, moment):
    box, _, path = submitting

    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=3, sleep=stop))
    box.score_polls = 3
    if moment == "the answer":
        box.faults.add("CreateSubmission", Fault(500, after=True))
    with pytest.raises(SystemExit):  # the command line exits: see `cli.ending.leave`
        monkeypatch.setattr("imettk.cli.ending.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
        main(["kaggle", "submit", "cells", str(path)])
    text = capsys.readouterr().out
    hint = "--list cells`" if moment == "the answer" else "stands whatever happens here: `imettk kaggle submit"
    assert hint in text and len(box.submissions) == 1


def test_the_list_is_read_page_by_page(submitting, monkeypatch):
    box, account, _ = submitting
    monkeypatch.setattr(leaderboard, "_PAGE", 2)
    for number in range(5):
        from_elsewhere(box, f"number {number}")
    assert [score.ref for score in list_scores(account, "cells")] == [5, 4, 3, 2, 1]


def test_a_kernels_version_is_submitted_in_a_code_competition(submitting):
    box, account, path = submitting
    kernel = {"slug": "me/imettk-x-infer", "newTitle": "imettk x infer", "text": ""}
    box._save_kernel(kernel)
    box.wait()
    (box.kernels["me/imettk-x-infer"][0].job.working / "submission.csv").write_bytes(path.read_bytes())
    for fault in (None, Fault(500, after=True)):
        if fault is not None:
            box.faults.add("CreateCodeSubmission", fault)
        number = submit_kernel(account, "cells", "me/imettk-x-infer", 1, "submission.csv", "from a test")
        assert wait_score(account, "cells", number, limit_seconds=HOUR).public == 0.13
    assert len(box.submissions) == 2
    with pytest.raises(PlatformError, match="404"):
        submit_kernel(account, "unknown", "me/imettk-x-infer", 1, "submission.csv", "x")
    command("cells", "--kernel", "me/imettk-x-infer")
    assert len(box.submissions) == 3
