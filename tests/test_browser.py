"""What a person sees, in a real Chromium: the listing, search, dark mode, uploads, video, zips. The ports are real.

Skipped where there is no Chromium with its driver, or no selenium.
"""
import io
import logging
import shutil
import subprocess
import tempfile
import unittest
import zipfile
from pathlib import Path

from nose2.tools import params

from ownhands import HTTPServer
from ownhands.files import UploadHandler

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait
except ImportError:
    webdriver = None

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
FLAGS = ("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1280,800").split()
PATIENCE = 15.0  # seconds, for a machine that has other things to do
ODD_NAME = "a \"b\" & <i>c<i>?#%41;\u00fc\udcff\n.txt"


class Recording(UploadHandler):
    """Keeps what was asked, with which Range, and the status."""

    answers: list = []

    def log_exchange(self, request, response, size):
        if request is not None:
            self.answers.append((request.method, request.path, request.fields.get("Range", ""), response.status))


@unittest.skipUnless(webdriver and CHROMIUM and DRIVER, "there is no Chromium, or no driver, or no selenium")
class InChromium(unittest.TestCase):
    browser = None  # the same for all tests, as it takes long to start

    @classmethod
    def setUpClass(cls):
        if InChromium.browser is None:
            InChromium.start()

    @classmethod
    def start(cls):
        cls.scratch = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={cls.scratch / 'profile'}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        options.add_experimental_option("prefs", {"download.default_directory": str(cls.scratch / "downloads")})
        cls.browser = webdriver.Chrome(options=options, service=Service(DRIVER))
        unittest.addModuleCleanup(cls.browser.quit)
        cls.browser.set_page_load_timeout(30)

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, size in (("notes.txt", 2), ("IMG_2.jpg", 1), ("IMG_10.jpg", 3), ("Documents/report.txt", 1),
                           ("Documents/deep/x.txt", 1)):
            self.write(name, f"this is {name}\n" * size)
        Recording.answers = []
        self.addCleanup(logging.getLogger("ownhands.access").setLevel, logging.getLogger("ownhands.access").level)
        logging.getLogger("ownhands.access").setLevel(logging.INFO)
        self.server = self.enterContext(HTTPServer("127.0.0.1", 0, Recording, root=self.root))
        self.open("/")

    def tearDown(self):
        problems = [entry["message"] for entry in self.browser.get_log("browser") if entry["source"] != "network"]
        self.assertEqual(problems, [])  # of scripts, and of the Content-Security-Policy

    def write(self, name, content=""):
        path = self.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(content)

    def outside(self, name, content):
        """A file that is somewhere else on the computer of the person."""
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (folder / name).write_bytes(content)
        return str(folder / name)

    # ---- what a person does -----------------------------------------------------------------------------------------

    def open(self, path):
        self.browser.get(self.server.url.rstrip("/") + path)
        self.wait(lambda: self.browser.execute_script("return document.readyState") == "complete")  # it may be early

    def find(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])].filter((each) => each.checkVisibility())"
            ".map((each) => each.textContent)", selector)

    def names(self):
        return self.texts(".files > li:not(.u) > a:first-child")

    def click(self, text):
        self.browser.find_element(By.PARTIAL_LINK_TEXT, text).click()

    def wait(self, condition):
        return WebDriverWait(self.browser, PATIENCE, 0.02).until(lambda _: condition())

    def pick(self, *paths):
        self.find("input[type=file]").send_keys("\n".join(paths))

    def drag(self, kind, *paths):
        data = {"items": [], "files": list(paths), "dragOperationsMask": 1}
        self.browser.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})

    def drop(self, *paths):
        for kind in ("dragEnter", "dragOver", "drop"):
            self.drag(kind, *paths)

    def uploads(self):
        return self.texts(".uploads output")

    def emulate(self, command, **arguments):
        self.browser.execute_cdp_cmd("Emulation." + command, arguments)


class Listing(InChromium):
    def test_folders_first_and_numbers_in_their_order(self):
        self.assertEqual(self.names(), ["Documents", "IMG_2.jpg", "IMG_10.jpg", "notes.txt"])

    def test_into_a_folder_and_back(self):
        self.click("Documents")
        self.click("deep")
        self.assertEqual(self.names(), ["x.txt"])
        self.click("Documents")  # among the crumbs
        self.assertEqual(self.names(), ["deep", "report.txt"])
        self.click("Parent folder")
        self.assertEqual(self.names(), ["Documents", "IMG_2.jpg", "IMG_10.jpg", "notes.txt"])

    def test_a_click_opens_a_file(self):
        self.click("notes.txt")
        self.assertIn("this is notes.txt", self.find("body").text)

    @params(False, True)
    def test_sorts_with_scripts_and_without(self, without):
        self.emulate("setScriptExecutionDisabled", value=without)
        self.addCleanup(self.emulate, "setScriptExecutionDisabled", value=False)
        self.open("/")
        self.click("Size")
        down = [each.text for each in self.browser.find_elements(By.CSS_SELECTOR, ".f > a, .i > a")]
        self.click("Size")
        up = [each.text for each in self.browser.find_elements(By.CSS_SELECTOR, ".f > a, .i > a")]
        self.assertEqual((down, up[::-1]), (["IMG_10.jpg", "notes.txt", "IMG_2.jpg"], down))

    def test_search(self):
        search = self.find("input[type=search]")
        search.send_keys("iMg")
        self.assertEqual((self.names(), self.texts("footer")), (["IMG_2.jpg", "IMG_10.jpg"], ["2 of 4"]))
        search.send_keys("x")
        self.assertEqual((self.names(), self.texts(".none")), ([], ["Nothing here has such a name."]))
        search.send_keys(Keys.ESCAPE)
        self.assertEqual((len(self.names()), self.texts("footer")[0][:17]), (4, "1 folder, 3 files"))

    def test_slash_goes_to_the_search(self):
        self.find("body").send_keys("/note")
        self.assertEqual(self.names(), ["notes.txt"])

    def test_search_among_two_thousand(self):
        (self.root / "many").mkdir()
        for number in range(2000):
            (self.root / "many" / f"{number}.txt").touch()
        self.open("/many/")
        self.assertEqual(self.browser.execute_script("return document.querySelectorAll('.files > li').length"), 2001)
        self.find("input[type=search]").send_keys("777")
        self.assertEqual(self.texts("footer"), ["2 of 2,000"])
        place = self.browser.execute_script("return document.querySelector('footer').getBoundingClientRect().bottom")
        self.assertLess(place, 1500)  # no room is kept for rows that were not found

    @params(("light", "255, 255, 255"), ("dark", "21, 24, 29"))
    def test_light_and_dark(self, scheme, colour):
        self.emulate("setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.assertEqual(self.find("html").value_of_css_property("background-color"), f"rgba({colour}, 1)")

    @params(320, 390, 1280)
    def test_nothing_sticks_out(self, width):
        self.write("very-long-name-" * 15, "x")
        self.emulate("setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 1000)
        self.addCleanup(self.browser.execute_cdp_cmd, "Emulation.clearDeviceMetricsOverride", {})
        self.open("/Documents/")
        self.open("/")
        self.assertLessEqual(self.browser.execute_script("return document.documentElement.scrollWidth"), width)

    def test_any_name_can_be_opened(self):
        self.write(ODD_NAME, "odd, but here")
        self.open("/")
        self.browser.find_element(By.CSS_SELECTOR, ".f > a").click()
        self.assertIn("odd, but here", self.find("body").text)

    def test_download_as_a_zip(self):
        self.find("a.button[href='?zip']").click()
        path = self.scratch / "downloads" / f"{self.root.name}.zip"
        self.wait(path.exists)
        archive = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
        self.assertEqual((archive.testzip(), len(archive.namelist())), (None, 8))

    @unittest.skipUnless(shutil.which("ffmpeg"), "there is no ffmpeg")
    def test_a_video_can_be_seeked(self):
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
                        "testsrc2=size=480x270:rate=25,noise=alls=90:allf=t", "-t", "10", "-c:v", "libx264",
                        "-qp", "26", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "25", self.root / "clip.mp4"],
                       check=True, timeout=60, stdin=subprocess.DEVNULL)
        self.open("/")
        self.click("clip.mp4")
        play = "const video = document.querySelector('video'); return video"
        self.wait(lambda: self.browser.execute_script(play + " && video.readyState >= 2 && video.duration > 9"))
        self.browser.execute_script(play + ".currentTime = 8")
        self.wait(lambda: self.browser.execute_script(play + ".seeking === false && video.readyState >= 2"))
        asked = [(path, status) for _, path, asked, status in Recording.answers if asked not in ("", "bytes=0-")]
        self.assertIn(("/clip.mp4", 206), asked)


class Uploads(InChromium):
    def test_several_files_are_picked(self):
        self.pick(self.outside("one.txt", b"1"), self.outside("\u00fc two.txt", b"2"), self.outside("three.txt", b""))
        self.wait(lambda: self.uploads() == ["done"] * 3 and "three.txt" in self.names())
        self.assertEqual((self.root / "\u00fc two.txt").read_bytes(), b"2")
        self.assertEqual(self.names(), ["Documents", "IMG_2.jpg", "IMG_10.jpg", "notes.txt", "one.txt", "three.txt",
                                        "\u00fc two.txt"])

    def test_dropped_files_have_a_progress_bar(self):
        content = bytes(range(256)) * 16_000
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.limit_upload(1_500_000)
        self.addCleanup(self.limit_upload, -1)
        self.drop(self.outside("big.bin", content))
        self.wait(lambda: any(0 < value < 1 for value in self.progress()))
        self.assertEqual((self.texts(".uploads span"), list(self.root.glob("big*"))), (["big.bin"], []))
        self.limit_upload(-1)
        self.wait(lambda: self.uploads() == ["done"] and "big.bin" in self.names())
        self.assertEqual(((self.root / "big.bin").read_bytes() == content, self.progress()), (True, []))

    def test_a_dragged_file_shows_where_it_goes(self):
        path = self.outside("a.txt", b"1")
        self.drag("dragEnter", path)
        self.drag("dragOver", path)
        self.wait(lambda: self.texts(".drop"))
        self.drag("dragCancel", path)
        webdriver.ActionChains(self.browser).move_by_offset(5, 5).perform()
        self.wait(lambda: not self.texts(".drop"))

    def test_a_file_that_exists_is_left_alone(self):
        before = (self.root / "notes.txt").read_text()
        self.pick(self.outside("notes.txt", b"x" * 3_000_000), self.outside("other.txt", b"2"))
        self.wait(lambda: sorted(self.uploads()) == ["done", "it exists already"])
        self.assertEqual((self.root / "notes.txt").read_text(), before)

    def test_a_folder_is_said_to_be_one(self):
        self.drop(str(Path(self.outside("a.txt", b"1")).parent))
        self.wait(lambda: self.uploads() == ["a folder cannot be sent, but the files in it can"])

    def test_an_upload_can_be_cancelled(self):
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.limit_upload(200_000)
        self.addCleanup(self.limit_upload, -1)
        self.pick(self.outside("big.bin", b"x" * 4_000_000))
        self.wait(lambda: any(0 < value < 1 for value in self.progress()))
        self.find(".uploads button").click()
        self.wait(lambda: not list(self.root.glob(".upload*")))
        self.assertEqual((self.uploads(), list(self.root.glob("big*"))), ([], []))

    def test_into_an_empty_folder(self):
        (self.root / "empty").mkdir()
        self.open("/empty/")
        self.assertEqual(self.texts(".note"), ["This folder is empty. Drop files here to upload them."])
        self.pick(self.outside("a.txt", b"1"))
        self.wait(lambda: self.names() == ["a.txt"])
        self.assertTrue(self.find("input[type=search]").is_displayed())

    def test_without_scripts(self):
        self.emulate("setScriptExecutionDisabled", value=True)
        self.addCleanup(self.emulate, "setScriptExecutionDisabled", value=False)
        self.open("/Documents/")
        self.pick(self.outside("a \"b\".txt", b"1"), self.outside("c.txt", b"2"))
        self.find("form button").click()
        self.wait(lambda: self.browser.find_elements(By.LINK_TEXT, "c.txt"))
        self.assertEqual((self.root / "Documents" / "a \"b\".txt").read_bytes(), b"1")

    def test_what_another_site_sends_is_refused(self):
        with HTTPServer("127.0.0.1", 0) as other:
            self.browser.get(other.url)
            self.browser.execute_async_script(
                "const body = new FormData(); body.append('f', new File(['1'], 'evil.txt'));"
                "fetch(arguments[0], {method: 'POST', mode: 'no-cors', body}).finally(arguments[1])", self.server.url)
        self.assertEqual(list(self.root.glob("evil*")), [])
        self.wait(lambda: ("POST", "/", "", 403) in Recording.answers)

    def progress(self):
        return self.browser.execute_script("return [...document.querySelectorAll('progress')].map((bar) => bar.value)")

    def limit_upload(self, rate):
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions", {
            "offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate})
