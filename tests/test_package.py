def test_package_has_a_version() -> None:
    import messagelog

    assert messagelog.__version__
