from __future__ import annotations

import pytest
from learning import QUICK, reference, synthetic_table

from vtc_flows.learn.matrix import learning_data
from vtc_flows.learn.training import train_model

N_ROWS = 300


@pytest.fixture(scope="session")
def table():
    return synthetic_table(N_ROWS)


@pytest.fixture(scope="session")
def model(table):
    return train_model(table, reference(N_ROWS), QUICK)


@pytest.fixture(scope="session")
def parts(table):
    return learning_data(table, "sams")
