"""The study file that `consilium study new` writes."""

STUDY = """\
# The pre-registered plan. Its canonical hash is the study's name on the chain: any change makes another study.
schema = "consilium.study/1"
id = "my-study"
protocol = { ethics = "IRB-0000-000", plan_sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
purpose = { duo = "DUO:0000042", commercial = false }  # what the hospitals are asked to consent to
sites = ["h01", "h02", "h03"]    # fixed per analysis; at least three
min_sites = 3
sum = "fhe"
row_cap = 1000                   # rows per site, at most

[release]
mode = "exact"                   # booked as exact: no differential-privacy claim
                                 # or "dp", with [privacy] epsilon, delta, clip: noise on every sum
recipient = "sponsor-key-1"
min_cell = 5

[cohort]
include = "age >= 18"
missing = "complete-case"
max_missing = "0.10"

[variables]                      # the agreed vocabulary; each hospital maps its own columns to it
age = { kind = "number", unit = "a", range = [18, 110], centre = 60, scale = 10 }
sex = { kind = "category", levels = ["male", "female"], reference = "male" }

[[analysis]]
id = "table1"
kind = "moments"
columns = ["age"]
"""
