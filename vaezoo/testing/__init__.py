"""Tests of the properties that every variant must have. Use `check` in a test of pytest::

    @pytest.mark.parametrize("finding", vaezoo.testing.check(VARIANT), ids=lambda finding: finding.property)
    def test_variant(finding):
        assert finding.holds, finding.figure

The tests use small models in float64 and fixed seeds.
"""

from vaezoo.testing.findings import Finding as Finding
from vaezoo.testing.properties import check as check
from vaezoo.testing.properties import count_decoder_passes as count_decoder_passes
