// Runs all tests of the page in one process, so that they share a browser, and one after the other, so that they do not disturb
// each other's times. Each file also runs alone: node --test demo/test/page.test.mjs
import './page.test.mjs';
import './call.test.mjs';
import './chaos.test.mjs';
import './leash.test.mjs';
import './tries.test.mjs';
import './guards.test.mjs';
import './access.test.mjs';
import './desk.test.mjs';
import './phone.test.mjs';
import './picture.test.mjs';
