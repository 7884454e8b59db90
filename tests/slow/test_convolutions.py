"""Every variant with convolutional networks."""

import pytest

from vaezoo import VARIANTS
from vaezoo.models import CONV
from vaezoo.testing import check


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_every_variant_has_its_properties_with_convolutions(variant):
    for finding in check(variant, architecture=CONV):
        assert finding.holds, (finding.property, finding.figure)
