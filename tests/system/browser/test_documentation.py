"""The page that shows the description, in a real browser: it works, and asks no other host for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from support.browser import CHROMIUM, browser_page
from support.live_server import SQLITE_ONLY, live_server
from support.openapi_validation import ROUTES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="/docs IS NOT TRIED IN A BROWSER: there is no chromium (apt-get install -y chromium)",
)

TRY_IT = """(async () => {
  const until = async look => {
    for (let n = 0; n < 400; n++) {
      const found = look();
      if (found) return found;
      await new Promise(done => setTimeout(done, 50));
    }
    throw new Error('it is not there');
  };
  const path = await until(() => document.querySelector('.opblock-get [data-path="/isAlive"]'));
  const block = path.closest('.opblock');
  block.querySelector('.opblock-summary-control').click();
  (await until(() => block.querySelector('.try-out__btn'))).click();
  (await until(() => block.querySelector('.execute'))).click();
  const status = await until(() => block.querySelector('.live-responses-table tbody .response-col_status'));
  return [document.querySelectorAll('.opblock').length, status.innerText];
})()"""


@SQLITE_ONLY
async def test_the_page_shows_every_route_and_asks_nobody_else(database_url: str, tmp_path: Path) -> None:
    async with live_server(database_url, tmp_path) as here, browser_page(tmp_path / "profile") as page:
        await page.open(f"{here.url}/docs?url=https://elsewhere.example/openapi.json")
        assert await page.run(TRY_IT) == [len(ROUTES), "200"]
        hosts = {urlsplit(url).netloc for url in page.asked if urlsplit(url).scheme not in {"data", "blob"}}
        assert hosts == {urlsplit(here.url).netloc}
        assert page.complaints == []
