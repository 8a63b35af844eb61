"""What passes between rooms: typed params, pairs, documents, chunks, facts, verdicts, answers, releases.

The ground floor. Everything imports it, it imports no room, and importing it loads no model library.
"""

import os

# GNU OpenMP's threads spin while they wait for each other. On 2 cores that something else used too, an answer of 1.8 s
# took 100 s; threads that sleep do not mind. Read once, when torch is loaded: so here, before anything loads it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
