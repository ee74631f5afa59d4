"""Who is known in a sandbox."""

from __future__ import annotations

from moat_nb.host.machine import User
from moat_nb.planning.accounts import group, passwd

USER = User(1000, 1001)


def test_the_kernels_user_comes_first_and_an_images_own_stay_known() -> None:
    known = "root:x:0:0:root:/root:/bin/bash\nnode:x:1000:1000::/home/node:/bin/bash\n"
    assert passwd(USER, known) == (f"moat:x:1000:1001:moat:/home/moatuser:/bin/sh\n{known}")
    assert group(USER, "root:x:0:\nadm:x:4:node\n") == "moat:x:1001:\nroot:x:0:\nadm:x:4:node\n"


def test_without_an_image_root_and_nobody_are_known() -> None:
    assert [line.split(":")[0] for line in passwd(USER).splitlines()] == ["moat", "root", "nobody"]
    assert group(USER) == "moat:x:1001:\nroot:x:0:\nnogroup:x:65534:\n"


def test_what_is_no_line_of_such_a_file_and_another_of_that_name_are_left_out() -> None:
    known = "moat:x:7:7::/:/bin/sh\n+::::::\n# a comment\n\nhalf:x:1\n\x1bx:x:1:1::/:/bin/sh"
    assert passwd(USER, known) == "moat:x:1000:1001:moat:/home/moatuser:/bin/sh\n"
    assert passwd(USER, "a:x:1:1::/:/bin/sh\n" * 6000).count("\n") == 5001
