"""`python -m exercises`: go to `.venv`, then do what was asked."""

from exercises import home

home.enter()

from exercises.cli import main  # noqa: E402  (rich is there only now)

if __name__ == "__main__":
    raise SystemExit(main())
