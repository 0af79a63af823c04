import { startProcess } from './processes.js';
const n=+process.argv[2], per=+process.argv[3], inflight=+process.argv[4], rows=+process.argv[5], log=process.argv[6]??'sqlite';
const p=await startProcess('primary'); const ws=await Promise.all(Array.from({length:n},()=>startProcess('worker')));
const {port}=await p.call('open',{log}); await Promise.all(ws.map(w=>w.call('follow',{port})));
let before=0;
for(let k=0;k<(+process.argv[7]||4);k++){ const u0=await Promise.all([p,...ws].map(x=>x.call('usage')));
 const reached=ws.map(w=>w.call('reach',before+rows)); const a=await p.call('append',{rows,perBatch:per,inFlight:inflight}); const ends=await Promise.all(reached); before+=rows;
 const u1=await Promise.all([p,...ws].map(x=>x.call('usage'))); const end=n===0?a.durableAt:Math.max(...ends.map(e=>e.at)); const ms=end-a.startedAt;
 const cpu=u1.map((u,i)=>(u.cpuMs-u0[i].cpuMs)); console.log(`total ${(Math.max(n,1)*rows/ms/1000).toFixed(2)} M/s, append until ${((a.durableAt-a.startedAt)/ms*100).toFixed(0)}%, busy cores ${(cpu.reduce((x,y)=>x+y,0)/ms).toFixed(2)}, primary ${(cpu[0]*1000/rows).toFixed(2)} us/row, workers ${(cpu.slice(1).reduce((x,y)=>x+y,0)*1000/rows/n).toFixed(2)} us/row, longest pause ${u1[0].longestPauseMs.toFixed(1)} ms`); }
for (const x of [p,...ws]) x.disconnect(); await new Promise(r=>setTimeout(r,1500)); process.exit();
