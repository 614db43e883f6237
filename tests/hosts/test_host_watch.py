"""Events of a request as a panel shows them."""

from mien.hosts.watch import Shown, after, duration, freshness


def progress(done, total, seconds, stage="render"):
    return {"event": "progress", "stage": stage, "done": done, "total": total, "seconds": seconds, "frame": 1000 + done}


def test_progress_says_stage_frames_and_time_left():
    shown = after(Shown(), [])
    assert shown.line == "Waiting ..." and shown.part == 0
    shown = after(shown, [progress(1, 10, 1.0)])
    assert shown.line == "Rendering 1 of 10" and shown.left is None
    shown = after(shown, [progress(5, 10, 20.0)])
    assert shown.line == "Rendering 5 of 10, 20 s left" and shown.part == 0.5 and shown.frame == 1005
    assert after(shown, [progress(1, 10, 30.0, "movie")]).stage == "Writing the movie"


def test_the_last_word_is_a_sentence():
    failed = [{"frame": 1003, "message": "no"}, {"frame": 1004, "message": "no"}]
    shown = after(Shown(), [{"event": "failure", "frame": 1003, "message": "no"}, {"event": "done", "done": 8,
                  "skipped": 2, "failed": failed}])  # fmt: skip
    assert shown.over and shown.line == "8 done, 2 up to date, 2 failed: 1003-1004." and shown.failed == {1003: "no"}
    assert after(Shown(), [{"event": "error", "message": "Check the path."}]).error == "Check the path."
    assert after(Shown(), [{"event": "cancelled"}]).line == "Cancelled."
    assert "gone" in after(Shown(), [{"event": "died", "message": "The engine is gone."}]).line
    assert after(Shown(), [{"event": "done", "curves": {}}]).line == "Done."


def test_how_fresh_a_render_is():
    def said(**frames):
        return freshness({"fresh": [], "stale": [], "absent": [], "no_plate": [], **frames})

    assert said(fresh=[1, 2, 3]) == "up to date"
    assert said(absent=[1, 2]) == "nothing rendered"
    assert said(fresh=[1], absent=[2, 3]) == "1 of 3, missing: 2-3"
    assert said(stale=[1, 2]) == "0 of 2, plate or settings changed: render again"
    assert said(fresh=[1], stale=[2], no_plate=[3]) == "1 of 2, changed: 2, no plate: 3"


def test_durations():
    assert [duration(s) for s in (0.2, 40, 100, 3600 * 2 + 300)] == ["0 s", "40 s", "2 min", "2 h 05"]
