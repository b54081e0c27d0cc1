"""Units. Inside: eV, Å, eV/Å, eV/Å3, K, fs, μB. For people: GPa, meV/atom, V against bcc Li."""

EV_PER_A3_IN_GPA = 160.21766208
"""1 eV/Å3 in GPa (CODATA 2014, the value ASE uses)."""

MEV = 1000.0
"""1 eV in meV."""

LITHIUM = 3
"""Atomic number of lithium."""
