# Read by GPAW's build (GPAW_CONFIG=requirements/gpaw-config.py pip install gpaw==26.7.0).
# A serial build that needs nothing but a C++ compiler: BLAS calls go through scipy and the
# functionals are GPAW's own (LDA, PBE, revPBE, RPBE), so neither libxc, FFTW nor MPI is needed.
compiler = "g++"
mpi = False
scalapack = False
fftw = False
libraries = []
noblas = True
nolibxc = True
