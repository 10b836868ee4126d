// Runs tests/world_script.py in Pyodide: node world.mjs PYODIDE_MJS PROJECT_ROOT
//
// The project is mounted, not copied. runPython is synchronous on purpose: while it runs no other loop does,
// so the simulator may put its own loop in place.

const [pyodideModule, projectRoot] = process.argv.slice(2);
const { loadPyodide } = await import(pyodideModule);
const env = { PYTHONHASHSEED: process.env.PYTHONHASHSEED, PYTHONDONTWRITEBYTECODE: "1" };
const pyodide = await loadPyodide({ env, packages: [] });
pyodide.setStdout({ batched: (line) => console.log(line) });
pyodide.mountNodeFS("/project", projectRoot);
try {
  pyodide.runPython(`
import sys
sys.path.insert(0, "/project")
from tests.world_script import main
main()
`);
} catch (error) {
  // The message is Python's traceback; the rest would be Pyodide's own source.
  console.error(error.message);
  process.exit(1);
}
