"""One hospital's side of a round: pure functions, bytes in and bytes out.

Rules of the machine (docs/protocol.md has the reasons):

* Every step is a function of what is recorded, one message and one view of the chain. It returns a `Step`:
  what to record and what to send. The caller records first, all or nothing, and sends after.
* A record is written once. A message that comes again is answered with the recorded bytes.
* The scope ``round`` holds what survives attempts (input, what was unlocked); the scope ``attempt`` holds
  what dies with it (ephemeral keys, masks).

=========  =======================================  ==========================  ===================
message    accepted only if                         recorded before sending     answer
=========  =======================================  ==========================  ===================
Task       it is the context the chain demands,     hello (HPKE secret)         Hello
           consent live, budget left
Hellos     signed by the roster's agents, mine is   input (once), ready         Ready
           among them, as I sent it
Plan       my Ready is in it, boxes open to H(g)    upload (all keys)           Upload, or Complaint
Locked     the chain says so, it is my plan, and    unlocked (once a round),    Unlock
           nothing else of this round was unlocked  unlock
Sum        fewer than three tries, ranges and       try-1..3, seal (state,      Seal, or Dispute
           commitments hold                         sum, randomness)
Outputs    a committee's, in the place of Sum;      as Sum                      as Sum
           nothing is unlocked for it
Check      somebody of the set disputes the sum;    checked                     Checked
           the lock lives, and I unlocked it
CheckedAll as Check; of the whole set               seal, verdict or range      Seal, Verdict or
                                                                                RangeProof
Ranges     as Check; I proved mine                  verdict                     Verdict
Attested   the chain says so and it is my seal      state; the rest is deleted  –
=========  =======================================  ==========================  ===================
"""

from participants.round.machine import HospitalRound
from participants.round.words import Ports, Record, Records, Site, Step, StudyFacts, View

__all__ = ["HospitalRound", "Ports", "Record", "Records", "Site", "Step", "StudyFacts", "View"]
