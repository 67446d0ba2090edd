"""Managed environments: one virtual environment for each framework whose adapter is part of the distribution.

Layout of the adapters directory::

    NAME/<id>/                  a virtual environment with environment.json, which is written last
    NAME/current                link to the environment in use; replaced atomically
    NAME/lock                   held by the install that runs
    NAME/install.log            the output of the last install
    packages/<version>-<digest>/  copies of the packages that adapters import: never the server's site-packages
"""
